# Names for fingers; ./dev does the work and says more (./dev help).
.PHONY: bench check format lint lock proofs soak test up

up check test lint format bench lock:
	@./dev $@ $(ARGS)

# The long verification: make soak MIN=60
MIN ?= 60
soak:
	@./dev contextd verify --minutes $(MIN) --report soak.md

# The proofs of the machine and of the API's description, in their long form.
proofs:
	@./dev test --long tests/verify/simulation tests/gateway/test_described.py \
		tests/gateway/test_differential.py tests/e2e/test_policies.py $(ARGS)
