"""COCO's annotations, of which Object HalBench needs what is in 300 pictures."""
