# Names for fingers; ./dev does the work and says more (./dev help).
.PHONY: bench check format lint lock soak test up

up check test lint format bench lock:
	@./dev $@ $(ARGS)

# The long verification: make soak MIN=60
MIN ?= 60
soak:
	@./dev contextd verify --minutes $(MIN) --report soak.md
