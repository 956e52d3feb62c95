"""From a whole video to proposed clips: shots, one person, what repeats, what is held."""
