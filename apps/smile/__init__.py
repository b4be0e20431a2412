"""Smiles in photographs and videos (Starter Bundle ch. 22), with a model of the `lenet_smiles` recipe.

dvc exp run -S recipe=lenet_smiles
python -m apps.smile.detect --model models:/NAME@champion --to smiles/ holiday.jpg party.mp4
"""
