"""From a whole video to proposed clips: shots, one person, what repeats or is held, and the rest."""
