"""A few conversations, written for this project, to calibrate on and to measure with where the user gives nothing else.

They sound like what the model is asked and what it answers, without pictures: real pictures with questions of the
intended use always calibrate better.
"""

from __future__ import annotations

# (question, answer)
CONVERSATIONS: tuple[tuple[str, str], ...] = (
    (
        "How would you describe a busy street market?",
        "A street market is crowded and full of colour. On the left, a woman in a green apron arranges oranges and "
        "lemons in wooden crates, while a man beside her weighs tomatoes on an old scale. Striped awnings, red and "
        "white, hang over the stalls. Further back, two children carry a loaf of bread between them, and a small brown "
        "dog looks up at a butcher's window. The light suggests a summer morning.",
    ),
    (
        "What might be unusual about a man ironing on the back of a car?",
        "Ironing is normally done at home, on a board that stands still. A car in traffic offers neither room nor "
        "electricity, and the man could fall when it turns. That contrast between a quiet household task and a "
        "dangerous place is what makes such a scene both funny and strange.",
    ),
    (
        "List what you need to make a simple vegetable soup.",
        "You need:\n1. Two tablespoons of olive oil\n2. One onion, chopped\n3. Three carrots and two stalks of celery\n"
        "4. Four potatoes, peeled and cut into cubes\n5. A litre of water or stock\n6. Salt, pepper and a bay leaf\n\n"
        "Soften the onion in the oil, add everything else, and let it simmer for about 30 minutes.",
    ),
    (
        "Is there a cat on the sofa, and what is it doing?",
        "Yes. A grey cat with white paws is lying on the right half of the sofa, curled up on a blue cushion. Its eyes "
        "are closed, so it is most likely asleep.",
    ),
    (
        "How many people would fit around a round table that is 1.5 metres wide?",
        "Its edge is 3.14 x 1.5 m, or about 4.7 metres long. If each person takes 60 to 75 centimetres, then six "
        "people sit comfortably, and seven or eight can squeeze in.",
    ),
    (
        "What does a road sign with a red ring and the number 50 mean?",
        "It is a speed limit: drivers must not go faster than 50 kilometres per hour until another sign changes or "
        "ends the limit. The red ring stands for a prohibition.",
    ),
    (
        "Why is the sky red in the evening?",
        "When the sun is low, its light crosses much more air before it reaches us. Air scatters short, blue waves "
        "far more than long, red ones, so most of the blue is lost on the way. What is left, and what the clouds "
        "reflect, is yellow, orange and red.",
    ),
    (
        "Tell me what you see in a typical kitchen, from left to right.",
        "On the left stands a tall white refrigerator with magnets and a child's drawing on its door. Next to it is a "
        "counter with a toaster, a wooden cutting board and a bowl of apples. In the middle, below the window, there "
        "is a steel sink with a few plates in it. On the right, a black kettle is steaming on a gas stove.",
    ),
    (
        "Write a short caption for a picture of a dog that jumps into a lake.",
        "One second before the splash: a happy retriever leaps from the wooden pier, ears flying, while its reflection "
        "waits in the still green water.",
    ),
    (
        "The text on the package says BEST BEFORE 12/2025. Can I still eat it in January 2026?",
        "Very likely. A best-before date tells you how long the maker guarantees the taste and texture; it is not a "
        "safety limit. Look at it, smell it, and if nothing seems wrong, you can eat it. With a use-by date, as on "
        "fresh meat or fish, you should be strict.",
    ),
    (
        "Which season is it if people wear coats and the trees have no leaves?",
        "It is probably winter, or very late autumn. Bare trees and warm coats point to cold weather, although without "
        "snow or a calendar I can't be entirely sure.",
    ),
    (
        "Explain what this program prints: for i in range(3): print(i * i)",
        "It prints three lines: 0, 1 and 4. The loop variable i takes the values 0, 1 and 2, and each time its square "
        "is printed.",
    ),
    (
        "What sport are they playing?",
        "They are playing tennis. The player in front holds a racket above her head and is about to serve, a yellow "
        "ball hangs in the air, and a net divides the blue court. Spectators watch from the stands behind her.",
    ),
    (
        "Compare a bicycle and a scooter for a ride of two kilometres.",
        "Both take well under fifteen minutes. A bicycle is faster, carries bags, and copes with rough roads, but it "
        "needs a place to park. A scooter folds up and can go under a desk or on a train, yet its small wheels don't "
        "like holes or rain. For short city trips with a train ride in between, the scooter wins; otherwise I would "
        "take the bicycle.",
    ),
    (
        "What colour is the umbrella, and who is holding it?",
        "The umbrella is bright yellow. An elderly man in a dark suit is holding it over a young woman who is looking "
        "for something in her handbag.",
    ),
    (
        "Who was Marie Curie?",
        "Marie Curie (1867-1934) was a physicist and chemist, born in Warsaw, who worked in Paris. She studied "
        "radioactivity, discovered polonium and radium together with her husband Pierre, and was the first person to "
        "receive two Nobel Prizes: for physics in 1903 and for chemistry in 1911.",
    ),
    (
        "Is it safe for the child in the picture to stand there?",
        "No. The child stands on a chair next to an open window, and no adult is near. Someone should lift the child "
        "down, close the window, and move the chair away from it.",
    ),
    (
        "Translate 'Good morning, how are you?' into French, German and Spanish.",
        "French: Bonjour, comment allez-vous ?\nGerman: Guten Morgen, wie geht es Ihnen?\nSpanish: Buenos días, ¿cómo "
        "está usted?",
    ),
    (
        "What is behind the red bus?",
        "Behind the red bus there is a white delivery van, and behind that a row of tall brick buildings with shops on "
        "the ground floor. A church tower with a clock rises above the roofs.",
    ),
    (
        "I can't read the sign. What could it say?",
        "I'm sorry, the letters are too small and blurred for me to read with certainty. From its shape and place, "
        "next to the door and with an arrow, it may show opening hours or the way to the entrance.",
    ),
)

# (file in builtin/pictures, question, answer)
PICTURE_CONVERSATIONS: tuple[tuple[str, str, str], ...] = (
    (
        "astronaut.jpg",
        "Who could this person be?",
        "This is a portrait of an astronaut. She wears an orange launch suit with a mission patch and a name tag, "
        "holds a white helmet with a dark visor, and smiles at the camera. The flag of the United States on the left "
        "and the model of a space shuttle behind her suggest that NASA took it before a flight.",
    ),
    (
        "astronaut.jpg",
        "What colour is the suit?",
        "The suit is orange, with a wide dark ring at the neck.",
    ),
    (
        "cameraman.jpg",
        "Describe the image in detail.",
        "The photograph is black and white. A man in a long dark coat and gloves stands on the left, bent towards a "
        "film camera on a tripod, and looks through its viewfinder. Short grass covers the ground around him. Far "
        "behind, under a bright, even sky, there are a tall white tower, a low dome and a row of other buildings.",
    ),
    (
        "cameraman.jpg",
        "Is it cold there, and how do you know?",
        "Probably. The man wears a thick coat and gloves, which few people do on a warm day. There is no snow, though.",
    ),
    (
        "cat.jpg",
        "What is in this picture?",
        "A close-up of a ginger tabby cat. Its face fills the frame: large green-yellow eyes with narrow pupils, a "
        "pink nose, long white whiskers and dark stripes on the forehead. It looks past the camera, to the lower "
        "right. The background is soft and out of focus.",
    ),
    (
        "cat.jpg",
        "Are the animal's eyes open?",
        "Yes, both eyes are wide open.",
    ),
    (
        "coffee.jpg",
        "What is interesting about this image?",
        "It shows an espresso in a red cup with a white inside, on a red saucer, with a small spoon on the right. The"
        " wooden table has a warm, scratched surface, so that nearly everything in the picture is red or brown, and "
        "the light foam on the coffee stands out.",
    ),
    (
        "coffee.jpg",
        "Where is the spoon?",
        "The spoon lies on the saucer, to the right of the cup, its bowl towards us and its handle behind the cup.",
    ),
    (
        "coins.jpg",
        "How many coins are there, and how are they arranged?",
        "There are 24 coins in four rows of six. They lie on a dark ground and differ in size: the largest are on the"
        " right and at the lower left.",
    ),
    (
        "coins.jpg",
        "Are these modern coins?",
        "No. They are worn, not quite round, and show heads and figures in an ancient style; they look Greek or Roman.",
    ),
    (
        "galaxies.jpg",
        "What do the small lights show?",
        "They are galaxies, thousands of them, in a very long exposure of a small piece of dark sky. Most appear as "
        "dots; some larger ones show spirals or ovals. Bluish ones hold many young stars, and many of the red ones "
        "are so far away that their light has been stretched on its way to us.",
    ),
    (
        "galaxies.jpg",
        "Is there a planet in the picture?",
        "I can't see one. Everything recognisable is a galaxy or, in a few cases, a star.",
    ),
    (
        "rocket.jpg",
        "What is happening in the image?",
        "A slender white rocket stands upright on its launch pad at dusk. Bright lamps shine like stars around its "
        "foot, and four steel lattice towers rise beside it against the deep blue sky. There is no smoke or flame, so"
        " it is waiting for its launch.",
    ),
    (
        "rocket.jpg",
        "What time of day is it?",
        "It is dusk or dawn: the sky is dark blue, with a pale band near the ground.",
    ),
)
