"""The input of a recipe: lists of files, their classification, verification and preparation."""
