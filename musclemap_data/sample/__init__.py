"""The embedded sample: synthetic workout videos with exact ground truth, rendered on the spot.

``write.render_sample`` writes the videos and their manifest; ``video.SyntheticVideo`` gives single
frames and the truth about them without a file. Everything here is synthetic: nobody was filmed.
"""
