"""The features of a symbol's five-minute candles.

There is one implementation, ``FeatureEngine``, fed candle by candle: live by the service, over history by training.
Its values are a function of the last ``WARMUP`` candles alone, to the last bit, however long the engine has run:

- sums over windows are kept as integers, from which what leaves the window is taken out exactly;
- exponential averages begin anew on a fixed grid of time (see ``features.trend``).
"""
