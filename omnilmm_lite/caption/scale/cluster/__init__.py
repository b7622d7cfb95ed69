"""Captions on a Ray cluster: `omnilmm-lite caption SOURCE --ray`. What imports Ray needs the extra `ray`."""
