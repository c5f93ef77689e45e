"""The phases of a whole scan, found blind: unit cells, where they are, in which orientations.

:func:`find_phases` is the way in. Modules in the order in which data flows: grains, orienting,
judging, refining, discovery, assigning; nets for a scan of one orientation.
"""
