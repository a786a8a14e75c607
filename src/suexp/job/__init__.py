"""One run: built, trained, recorded, and saved so that it can go on."""
