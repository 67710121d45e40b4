"""The doors that speak OpenAI's protocol: the same contexts, log and feed behind them."""
