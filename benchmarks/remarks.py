"""What people say to a planner that no action serves: the other side of a floor that refuses no goal."""

_LINES = """\
Thanks, that is all for now|How are you today|What is the meaning of life|You are the best|Good morning
I do not understand|Tell me more about yourself|Can you help me|ok great|never mind|lol that was funny
who created you|are you a robot
let's start over|sing me a lullaby about dragons|why is the sky blue|My grandmother was born in a village by the sea
the quick brown fox jumps over the lazy dog|I am feeling sad and tired|what would you do if you won the lottery
knit a woollen sweater for my goldfish|teleport me to the third moon of Jupiter|unscramble an omelette
fold an origami swan out of lasagne|whisper to the ancient oak until it blossoms|juggle flaming torches on a unicycle
polish grandfather's brass trombone|braid my daughter's hair|asdf qwer zxcv|lorem ipsum dolor sit amet
Hello there|Hi, nice to meet you|Thank you so much, you were great|Bye for now|See you tomorrow|Good night
Merry Christmas
What's your name|How old are you|Do you have feelings|Do you dream at night|Who is your favourite singer|I love you
You made a mistake there|That is not what I meant|Please be quiet|Stop|Yes|No|Maybe later|Sure, go ahead
I changed my mind|Wait a second|Could you repeat that|Say that again in other words|Why did you do that
I don't believe you
That was wrong|Tell me a joke|Make me laugh|Are you there|Is anybody home|What can you do|What are you good at
Who built you|hmm
I had a terrible day at work|My cat is sick and I am worried|I miss my old friends|It is so hot in here|I'm bored
Nobody understands me|Everything will be fine|The train was late again|I think I will go to bed|My neighbour snores
To be or not to be|All happy families are alike|Roses are red and violets are blue|Once upon a time there was a king
It was the best of times, it was the worst of times|Colourless green ideas sleep furiously
How many angels can dance on the head of a pin|What came first, the chicken or the egg|Is there life after death
Does a falling tree make a sound when nobody hears it|Why do we exist|Do fish get thirsty|Can dogs see ghosts
wash my socks by hand|tie my shoelaces|hold my umbrella for a minute|scratch my back|make the bed|water the ficus
bring me a glass of lemonade|hang the laundry in the yard|shovel snow off the porch|carve a spoon from birch wood
tickle the baby until she giggles|walk across the desert barefoot|climb the fence and pick three pears
whittle a flute|pluck the goose|sharpen the scythe|milk the goat before dawn|chop the kindling|stir the porridge
catch moonbeams in a jar|ride a unicorn to the end of the rainbow|turn lead into gold|swallow the sun
walk through a wall|become invisible|resurrect a mammoth|unboil an egg|count the grains of sand on every beach
build a snowman in the Sahara|bottle the smell of rain|paint the wind|fold the sea in half|iron the clouds
blorp flibber wug|xyzzy plugh|hjkl hjkl hjkl|aaaaaaaa|1234567890|foo bar baz|qwerty uiop|brrr zzz
Alouette, gentille alouette|Morgen wird alles besser|No me importa nada|Che bella giornata|Ik heb geen zin
my neighbour's cat has been sitting on the fence all afternoon|I used to love rainy Sundays when I was a child
do you ever get bored of answering people|could you sharpen my kitchen knives
iron my shirts before the wedding|I think my sister is angry with me|tell me a joke about penguins
well that did not go as I had hoped|hold on a second, someone is at the door|you're wrong about that
teach my dog to moonwalk|shave the hedge into the shape of a swan|carry this piano up four flights of stairs
never mind what I said before|brilliant, exactly what I wanted
we had pancakes for breakfast and they were burnt|sew a button onto my coat|dig a pond behind the shed
what's your favourite colour|are you able to feel pain|he said she said that they were leaving on Tuesday
the door creaks and nobody oils it|blow up two hundred balloons by hand|wash the windows on the outside
marry me|I miss my old flat|guess what happened to me on the bus|ugh, Mondays|knock on wood
please pass the salt|tickle the baby until it laughs|wrap the parcel in brown paper and tie a bow
milk the goats at dawn|carve a whistle out of willow|stop repeating yourself|it was lovely talking to you
my knee hurts when I kneel down|how do magnets even work|who would win, a bear or a shark
write nothing and say nothing"""
REMARKS = tuple(remark for line in _LINES.splitlines() for remark in line.split("|"))
"""Where a word of one is in thousands of actions' texts all the same, it is hard to see."""
