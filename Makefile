# Names for fingers; ./dev does the work and says more (./dev help).
.PHONY: bench check format lint lock proofs soak test up

up check test lint format bench lock:
	@./dev $@ $(ARGS)

# The long verification: make soak MIN=60
MIN ?= 60
soak:
	@./dev contextd verify --minutes $(MIN) --report soak.md

# The proofs of the machine, of the API's description and of the guard, in their long form.
proofs:
	@./dev test --long tests/verify/simulation tests/gateway/test_described.py \
		tests/gateway/test_differential.py tests/gateway/test_hostile.py \
		tests/workers/test_obedience.py tests/e2e/test_overload.py \
		tests/e2e/test_policies.py tests/e2e/test_store_users.py $(ARGS)
