"""A program that adds the products of folders to a database, and prints the name of each: a writer for tests."""

import random
import sys

from soxspipe.database.quality_database import QualityDatabase
from soxspipe.database.records import find_products

target, *folders = sys.argv[1:]
database = QualityDatabase(target)
paths = [path for folder in folders for path in find_products(folder)]
random.shuffle(paths)
print("begins", flush=True)
for path in paths:
    database.add(path)
    print(path.name, flush=True)
