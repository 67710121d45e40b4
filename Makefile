# Names for fingers; ./dev does the work and says more (./dev help).
.PHONY: bench check format lint lock test up

up check test lint format bench lock:
	@./dev $@ $(ARGS)
