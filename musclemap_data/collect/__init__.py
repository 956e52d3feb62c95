"""Candidates for new clips: videos of channels, playlists, searches and folders of one's own."""
