"""Word lists that the generator draws from. Data only; their order is fixed, so that a seed means something."""

from __future__ import annotations

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Spain": "Madrid", "Italy": "Rome", "Portugal": "Lisbon",
    "Belgium": "Brussels", "the Netherlands": "Amsterdam", "Austria": "Vienna", "Switzerland": "Bern",
    "Poland": "Warsaw", "the Czech Republic": "Prague", "Hungary": "Budapest", "Romania": "Bucharest",
    "Bulgaria": "Sofia", "Greece": "Athens", "Turkey": "Ankara", "Sweden": "Stockholm", "Norway": "Oslo",
    "Denmark": "Copenhagen", "Finland": "Helsinki", "Iceland": "Reykjavik", "Ireland": "Dublin",
    "the United Kingdom": "London", "Scotland": "Edinburgh", "Russia": "Moscow", "Ukraine": "Kyiv",
    "Estonia": "Tallinn", "Latvia": "Riga", "Lithuania": "Vilnius", "Croatia": "Zagreb", "Serbia": "Belgrade",
    "Slovenia": "Ljubljana", "Slovakia": "Bratislava", "Egypt": "Cairo", "Morocco": "Rabat", "Tunisia": "Tunis",
    "Algeria": "Algiers", "Kenya": "Nairobi", "Nigeria": "Abuja", "Ghana": "Accra", "Senegal": "Dakar",
    "Ethiopia": "Addis Ababa", "China": "Beijing", "Japan": "Tokyo", "South Korea": "Seoul", "India": "New Delhi",
    "Nepal": "Kathmandu", "Thailand": "Bangkok", "Vietnam": "Hanoi", "Indonesia": "Jakarta",
    "the Philippines": "Manila", "Australia": "Canberra", "New Zealand": "Wellington", "Canada": "Ottawa",
    "the United States": "Washington, D.C.", "Mexico": "Mexico City", "Cuba": "Havana", "Brazil": "Brasilia",
    "Argentina": "Buenos Aires", "Chile": "Santiago", "Peru": "Lima", "Colombia": "Bogota",
    "Venezuela": "Caracas", "Uruguay": "Montevideo", "Iran": "Tehran", "Iraq": "Baghdad",
}  # fmt: skip

UNKNOWN_COUNTRIES = [
    "Bhutan", "Mongolia", "Malta", "Cyprus", "Luxembourg", "Andorra", "Monaco", "Albania", "Moldova", "Georgia",
    "Armenia", "Kazakhstan", "Uzbekistan", "Afghanistan", "Pakistan", "Bangladesh", "Sri Lanka", "Myanmar", "Laos",
    "Cambodia", "Malaysia", "Singapore", "Fiji", "Samoa", "Tonga", "Jamaica", "Haiti", "Panama", "Guatemala",
    "Honduras", "Costa Rica", "Ecuador", "Bolivia", "Paraguay", "Angola", "Zambia", "Mali", "Chad", "Niger", "Sudan",
    "Somalia", "Uganda", "Rwanda", "Namibia", "Botswana", "Madagascar", "Oman", "Qatar", "Kuwait", "Jordan", "Yemen",
]  # fmt: skip

# English -> (French, German, Spanish)
PHRASES = {
    "hello": ("bonjour", "hallo", "hola"),
    "good morning": ("bonjour", "guten Morgen", "buenos días"),
    "good evening": ("bonsoir", "guten Abend", "buenas tardes"),
    "good night": ("bonne nuit", "gute Nacht", "buenas noches"),
    "goodbye": ("au revoir", "auf Wiedersehen", "adiós"),
    "please": ("s'il vous plaît", "bitte", "por favor"),
    "thank you": ("merci", "danke", "gracias"),
    "yes": ("oui", "ja", "sí"),
    "no": ("non", "nein", "no"),
    "sorry": ("pardon", "Entschuldigung", "perdón"),
    "friend": ("ami", "Freund", "amigo"),
    "cat": ("chat", "Katze", "gato"),
    "dog": ("chien", "Hund", "perro"),
    "bird": ("oiseau", "Vogel", "pájaro"),
    "fish": ("poisson", "Fisch", "pez"),
    "house": ("maison", "Haus", "casa"),
    "water": ("eau", "Wasser", "agua"),
    "bread": ("pain", "Brot", "pan"),
    "milk": ("lait", "Milch", "leche"),
    "cheese": ("fromage", "Käse", "queso"),
    "apple": ("pomme", "Apfel", "manzana"),
    "coffee": ("café", "Kaffee", "café"),
    "tea": ("thé", "Tee", "té"),
    "book": ("livre", "Buch", "libro"),
    "car": ("voiture", "Auto", "coche"),
    "train": ("train", "Zug", "tren"),
    "street": ("rue", "Straße", "calle"),
    "city": ("ville", "Stadt", "ciudad"),
    "sun": ("soleil", "Sonne", "sol"),
    "moon": ("lune", "Mond", "luna"),
    "tree": ("arbre", "Baum", "árbol"),
    "flower": ("fleur", "Blume", "flor"),
    "day": ("jour", "Tag", "día"),
    "night": ("nuit", "Nacht", "noche"),
    "today": ("aujourd'hui", "heute", "hoy"),
    "tomorrow": ("demain", "morgen", "mañana"),
    "mother": ("mère", "Mutter", "madre"),
    "father": ("père", "Vater", "padre"),
    "red": ("rouge", "rot", "rojo"),
    "blue": ("bleu", "blau", "azul"),
    "one": ("un", "eins", "uno"),
    "two": ("deux", "zwei", "dos"),
    "three": ("trois", "drei", "tres"),
}
LANGUAGES = ("French", "German", "Spanish")
UNKNOWN_LANGUAGES = ["Italian", "Portuguese", "Dutch", "Polish", "Russian", "Japanese", "Chinese", "Korean", "Arabic",
                     "Hindi", "Turkish", "Greek", "Swedish", "Finnish", "Latin", "Welsh", "Hungarian",
                     "Czech"]  # fmt: skip
UNKNOWN_WORDS = ["umbrella", "spoon", "keyboard", "carpet", "bicycle", "thunder", "window", "elephant", "chair",
                 "pillow", "airport", "kitchen", "mountain", "river", "pencil", "doctor", "teacher", "garden", "shirt",
                 "butter", "salt", "beach", "bridge", "island", "winter", "summer", "hammer", "ladder", "mirror",
                 "pocket", "rabbit", "squirrel", "tiger", "tomato", "potato", "onion", "glass", "bottle"]  # fmt: skip

COLOURS = ["red", "blue", "green", "yellow", "orange", "purple", "pink", "black", "white", "brown", "grey", "gold",
           "silver", "turquoise", "violet", "crimson", "teal", "beige", "indigo", "magenta"]  # fmt: skip
FOODS = ["pizza", "pasta", "rice", "sushi", "soup", "bread", "cheese", "chocolate", "ice cream", "salad", "curry",
         "noodles", "pancakes", "apples", "bananas", "potatoes", "beans", "tacos", "lasagne", "dumplings", "couscous",
         "waffles", "fish and chips", "tomato soup", "strawberries", "cake", "burgers", "omelette"]  # fmt: skip
JOBS = ["teacher", "doctor", "nurse", "baker", "pilot", "driver", "farmer", "writer", "painter", "lawyer", "cook",
        "carpenter", "student", "singer", "dentist", "gardener", "plumber", "engineer", "librarian", "programmer",
        "photographer", "waiter", "tailor", "fisherman", "musician"]  # fmt: skip
ANIMALS = ["dog", "cat", "horse", "rabbit", "parrot", "hamster", "turtle", "goldfish", "snake", "goat", "duck",
           "guinea pig", "lizard", "pony"]  # fmt: skip
HOBBIES = ["reading", "swimming", "chess", "hiking", "painting", "cooking", "dancing", "cycling", "fishing", "running",
           "gardening", "photography", "knitting", "climbing", "skiing", "football", "tennis", "singing", "sailing",
           "drawing", "karate", "yoga", "surfing", "baking"]  # fmt: skip

NAMES = [
    "Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Ida", "Jack", "Karen", "Leo", "Maria", "Noah",
    "Olivia", "Paul", "Quentin", "Rosa", "Sam", "Tina", "Uma", "Victor", "Wendy", "Xavier", "Yara", "Zoe", "Ahmed",
    "Bianca", "Carlos", "Diana", "Elena", "Fatima", "George", "Hannah", "Ivan", "Julia", "Kofi", "Lena", "Mohammed",
    "Nina", "Oscar", "Priya", "Raj", "Sofia", "Thomas", "Ursula", "Vera", "Walter", "Yusuf", "Chloe", "Pierre", "Hugo",
    "Ines", "Lucas", "Marta", "Nadia", "Peter", "Robert", "Simon", "Laura", "Alice", "Bob", "Charlie", "Daniel", "Eva",
    "Frank", "Helen", "James", "Kate", "Linda", "Mark", "Nick", "Oliver", "Rachel", "Steve", "Tom", "William", "Lucy",
    "Max", "Mia", "Jonas", "Greta", "Kim", "Lee", "Wei", "Yuki", "Hiro", "Aisha", "Omar", "Layla", "Igor", "Olga",
    "Sven", "Astrid", "Bjorn", "Freya", "Marco", "Giulia", "Paolo", "Lucia", "Diego", "Carmen", "Pablo", "Elif",
]  # fmt: skip
HELD_OUT_NAMES = [
    "Marlene", "Theodore", "Beatrice", "Gustav", "Ophelia", "Rufus", "Cordelia", "Barnaby", "Isolde", "Casper",
    "Winifred", "Lorenzo", "Matilda", "Percival", "Rosalind", "Sebastian", "Tabitha", "Ulysses", "Vivian", "Wolfgang",
    "Xenia", "Yannick", "Zelda", "Adrian", "Bridget", "Cedric", "Dorothy", "Edmund", "Fiona", "Gavin", "Harriet",
    "Ignacio", "Jasmine", "Konrad", "Lydia", "Milton", "Natasha", "Orlando", "Philippa", "Ramona", "Stella", "Tobias",
    "Valentina", "Wesley", "Abigail", "Boris", "Cynthia", "Dimitri", "Eleanor", "Florian", "Gloria", "Hector", "Irene",
    "Joaquin", "Katarina", "Leopold", "Miranda", "Nathaniel", "Otto", "Petra",
]  # fmt: skip
CITIES = ["London", "Paris", "Berlin", "Madrid", "Rome", "Vienna", "Lyon", "Hamburg", "Munich", "Barcelona", "Naples",
          "Geneva", "Zurich", "Oslo", "Boston", "Chicago", "Denver", "Seattle", "Toronto", "Montreal", "Sydney",
          "Mumbai", "Tokyo", "Osaka", "Cairo", "Lagos", "Nairobi", "Lima", "Bogota", "Manila", "Bristol", "Leeds",
          "Glasgow", "Dublin", "Cork", "Porto", "Seville", "Marseille", "Lille", "Cologne"]  # fmt: skip
HELD_OUT_CITIES = ["Toulouse", "Leipzig", "Valencia", "Palermo", "Utrecht", "Antwerp", "Gothenburg", "Krakow", "Dallas",
                   "Portland", "Vancouver", "Perth", "Kyoto", "Hanover", "Bordeaux", "Sheffield", "Salzburg", "Turin",
                   "Austin", "Memphis"]  # fmt: skip
NOUNS = ["table", "river", "music", "garden", "stone", "light", "paper", "ship", "clock", "forest", "storm", "letter",
         "bridge", "dragon", "castle", "banana", "engine", "pencil", "summer", "winter", "robot", "planet", "island",
         "mountain", "cloud", "button", "candle", "market", "window", "tower", "wolf", "lion", "horse", "snow", "fire",
         "wind", "rain", "glass", "gold", "silver", "bread", "honey", "lemon", "salt", "sugar", "king", "queen",
         "child", "teacher", "doctor", "song", "dance", "dream", "story", "city", "road", "train", "plane"]  # fmt: skip
ADJECTIVES = ["big", "small", "old", "new", "happy", "sad", "fast", "slow", "dark", "bright", "cold", "warm", "quiet",
              "loud", "strange", "simple", "heavy", "strong", "young", "clever", "green", "red", "blue", "silver",
              "golden", "lazy", "brave", "tired", "kind", "wild"]  # fmt: skip
TOPICS = [
    "quantum physics", "the stock market", "black holes", "the French Revolution", "photosynthesis", "the Roman Empire",
    "jazz", "football", "cricket", "volcanoes", "dinosaurs", "the Middle Ages", "Shakespeare", "opera", "taxes",
    "politics", "climate change", "nuclear energy", "genetics", "the moon landing", "blockchain", "bitcoin",
    "gardening", "cooking rice", "electric cars", "airplanes", "medicine", "the human heart", "bees", "sharks",
    "the Second World War", "philosophy", "Plato", "Einstein", "the pyramids", "algebra", "calculus", "poetry",
    "Kubernetes", "JavaScript", "Python classes", "Rust", "databases", "Linux kernels", "chess openings", "yoga",
    "marathons", "coffee roasting", "wine", "the Olympic Games", "the ozone layer", "gravity", "tides", "sleep",
    "vaccines", "inflation", "the Silk Road", "samurai", "Vikings", "penguins", "ballet", "sculpture", "typography",
]  # fmt: skip
HELD_OUT_TOPICS = ["earthquakes", "the Cold War", "evolution", "pottery", "basketball", "supernovas",
                   "the Renaissance",
                   "origami", "whales", "compilers", "diabetes", "baroque music", "the Aztecs", "lightning",
                   "bridges and dams", "spiders", "the Vatican", "economics", "electric guitars",
                   "glaciers"]  # fmt: skip
PEOPLE = [
    "Napoleon", "Mozart", "Beethoven", "Cleopatra", "Isaac Newton", "Marie Curie", "Leonardo da Vinci", "Picasso",
    "Gandhi", "Abraham Lincoln", "Julius Caesar", "Elvis Presley", "Charles Darwin", "Galileo", "Nelson Mandela",
    "Columbus", "Aristotle", "Socrates", "Van Gogh", "Charlie Chaplin", "Agatha Christie", "Homer", "Dante", "Goethe",
    "Tolstoy", "Frida Kahlo", "Tesla", "Edison", "Queen Victoria", "Genghis Khan", "the king of Spain", "the pope",
]  # fmt: skip
HELD_OUT_PEOPLE = ["Bach", "Archimedes", "Voltaire", "Ada Lovelace", "Marco Polo", "Joan of Arc", "Chopin", "Kafka",
                   "Winston Churchill", "Alan Turing", "Monet", "Confucius"]  # fmt: skip

# Cities to ask the weather of, in training, beside CITIES and the capitals.
WEATHER_CITIES = [
    "San Francisco", "New York", "Los Angeles", "Las Vegas", "Miami", "Salt Lake City", "New Orleans", "San Antonio",
    "Minneapolis", "Nashville", "Pittsburgh", "Baltimore", "Honolulu", "Anchorage", "St. Louis", "Kansas City",
    "Santa Fe", "Indianapolis", "Milwaukee", "El Paso", "Edmonton", "Quebec", "Rio de Janeiro", "São Paulo",
    "Belo Horizonte", "Córdoba", "Cartagena", "Medellín", "Guadalajara", "Monterrey", "Cape Town", "Johannesburg",
    "Marrakesh", "Fez", "Zanzibar", "Kampala", "Istanbul", "Antalya", "Tel Aviv", "Jerusalem", "Dubai", "Doha",
    "Karachi", "Delhi", "Bangalore", "Hyderabad", "Jaipur", "Shanghai", "Hong Kong", "Guangzhou", "Shenzhen",
    "Ho Chi Minh City", "Kuala Lumpur", "Singapore", "Hiroshima", "Yokohama", "Nagasaki", "Adelaide", "Hobart",
    "Darwin", "Christchurch", "Manchester", "Liverpool", "Birmingham", "Newcastle", "Cardiff", "Belfast", "Galway",
    "Aberdeen", "York", "Oxford", "Cambridge", "Brighton", "Bath", "Nancy", "Dijon", "Grenoble", "Avignon",
    "Saint-Étienne", "Aix-en-Provence", "Düsseldorf", "Frankfurt", "Nürnberg", "Bremen", "Dresden", "Rostock",
    "Köln", "München", "Zürich", "Basel", "Genoa", "Bologna", "Milan", "Bari", "Catania", "Siena", "Zaragoza",
    "Cádiz", "Málaga", "San Sebastián", "Coimbra", "Faro", "The Hague", "Eindhoven", "Liège", "Charleroi",
    "Saint Petersburg", "Odesa", "Lviv", "Wrocław", "Poznań", "Łódź", "Split", "Dubrovnik", "Thessaloniki",
    "Trondheim", "Stavanger", "Uppsala", "Turku", "Odense", "Akureyri",
]  # fmt: skip
HELD_OUT_WEATHER_CITIES = [
    *HELD_OUT_CITIES, "Stuttgart", "Lausanne", "Bergen", "Tampere", "Granada", "Pisa", "Venice", "Florence", "Verona",
    "Gdańsk", "Brno", "Graz", "Innsbruck", "Ghent", "Bruges", "Rotterdam", "Aarhus", "Malmö", "Nantes", "Strasbourg",
    "Rennes", "Bilbao", "Braga", "Izmir", "Alexandria", "Casablanca", "Mombasa", "Durban", "Pune", "Kolkata", "Lahore",
    "Busan", "Nagoya", "Sapporo", "Melbourne", "Brisbane", "Auckland", "Calgary", "Winnipeg", "Halifax",
    "San Diego", "Palo Alto", "Clermont-Ferrand", "Heidelberg", "Göttingen", "Santa Cruz", "Port Louis", "Fukuoka",
]  # fmt: skip
US_CITIES = {
    "Boston": "MA", "Chicago": "IL", "Denver": "CO", "Seattle": "WA", "San Francisco": "CA", "New York": "NY",
    "Los Angeles": "CA", "Las Vegas": "NV", "Miami": "FL", "Nashville": "TN", "Minneapolis": "MN", "Honolulu": "HI",
    "Pittsburgh": "PA", "Baltimore": "MD", "New Orleans": "LA", "San Antonio": "TX", "Milwaukee": "WI",
    "Indianapolis": "IN", "Anchorage": "AK", "Salt Lake City": "UT", "Kansas City": "MO", "Santa Fe": "NM",
}  # fmt: skip
HELD_OUT_US_CITIES = {
    "Houston": "TX", "Phoenix": "AZ", "Atlanta": "GA", "Detroit": "MI", "Cleveland": "OH", "Tampa": "FL",
    "San Diego": "CA", "Austin": "TX", "Memphis": "TN", "Portland": "OR", "Boise": "ID", "Omaha": "NE",
}  # fmt: skip
STATES = ("AL", "AK", "AZ", "AR", "CA", "CO", "CT", "DE", "FL", "GA", "HI", "ID", "IL", "IN", "IA", "KS", "KY", "LA",
          "ME", "MD", "MA", "MI", "MN", "MS", "MO", "MT", "NE", "NV", "NH", "NJ", "NM", "NY", "NC", "ND", "OH", "OK",
          "OR", "PA", "RI", "SC", "SD", "TN", "TX", "UT", "VT", "VA", "WA", "WV", "WI", "WY")  # fmt: skip
FAMILY_NAMES = [
    "Smith", "Jones", "Brown", "Taylor", "Miller", "Wilson", "Moore", "Martin", "Clark", "Lewis", "Walker", "Hall",
    "Young", "King", "Wright", "Hill", "Scott", "Green", "Adams", "Baker", "Nelson", "Carter", "Parker", "Evans",
    "Müller", "Schmidt", "Weber", "Fischer", "Wagner", "Schäfer", "Groß", "Dubois", "Lefèvre", "Moreau", "Laurent",
    "Girard", "García", "Fernández", "López", "Martínez", "Sánchez", "Rossi", "Bianchi", "Ferrari", "Silva", "Santos",
    "Oliveira", "Kowalski", "Nowak", "Novák", "Ivanov", "Petrov", "Andersson", "Johansson", "Hansen", "Nielsen",
    "Virtanen", "O'Brien", "O'Connor", "McDonald", "van der Berg", "de Vries", "von Braun", "da Costa", "del Río",
    "Kim", "Lee", "Tanaka", "Suzuki", "Sato", "Wang", "Zhang", "Chen", "Singh", "Patel", "Khan", "Ali", "Yılmaz",
    "Okafor", "Mensah", "Cohen", "Papadopoulos", "Horváth", "Popescu", "Picard", "Curie", "Newton",
]  # fmt: skip
HELD_OUT_FAMILY_NAMES = [
    "Lovelace", "Hopper", "Turing", "Thompson", "Robinson", "Harrison", "Zimmermann", "Schneider", "Lehmann",
    "Fontaine", "Rousseau", "Mercier", "Delgado", "Ramírez", "Ortega", "Navarro", "Ricci", "Marino", "Almeida",
    "Wiśniewski", "Dvořák", "Sorokin", "Lindqvist", "Eriksen", "Korhonen", "Fitzgerald", "MacLeod", "de Jong",
    "van Dijk", "Watanabe", "Nakamura", "Huang", "Sharma", "Rahman", "Demir", "Adeyemi", "Goldberg", "Kovács",
    "Ionescu", "Castellano",
]  # fmt: skip
ACCENTED_NAMES = ["José", "María", "Jean-Luc", "Anne-Marie", "Zoë", "Chloé", "René", "François", "Jürgen", "Søren",
                  "Björn", "Łukasz", "Ágnes", "Inés", "Ángel", "Noémie", "Renée", "Hélène", "Günther", "Jörg",
                  "María del Mar", "Juan Carlos", "Mary Jane", "Karl-Heinz", "Åsa", "João"]  # fmt: skip
HELD_OUT_ACCENTED_NAMES = ["Ada", "Jean-Pierre", "Élodie", "Andrés", "María José", "Zoltán", "Müge", "Käthe", "Théo",
                           "Marie-Claire", "Raúl", "Óscar", "Lætitia", "Jérôme", "Beyoncé", "Anne-Sophie"]  # fmt: skip
