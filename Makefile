# make demo: see it work. make test: everything that must hold. Both bring a Docker Engine and .venv if they are missing.

.PHONY: help demo test lint bench clean

help:
	@echo "make demo   execute the tour notebook in real sandboxes (a minute or two the first time)"
	@echo "make test   linters, every test, and the notebooks against their saved outputs"
	@echo "make lint   ruff and mypy alone"
	@echo "make bench  cells, starts and restarts against ipykernel and the bare engine: a table of ratios"
	@echo "make clean  remove .venv and everything generated"

demo:
	@scripts/ensure_engine.sh
	@scripts/ensure_venv.sh test
	@.venv/bin/python scripts/demo.py

test:
	@scripts/ensure_engine.sh
	@scripts/ensure_git.sh
	@scripts/ensure_podman.sh
	@scripts/ensure_runsc.sh
	@scripts/ensure_venv.sh dev
	@scripts/ensure_browser.sh
	@scripts/lint.sh
	@.venv/bin/python scripts/run_tests.py

lint:
	@scripts/ensure_venv.sh dev
	@scripts/lint.sh

bench:
	@scripts/ensure_engine.sh
	@scripts/ensure_venv.sh dev
	@.venv/bin/python -m benchmarks

clean:
	rm -rf .venv .demo .test-output .third-party .pytest_cache .mypy_cache .ruff_cache build dist
	find . -name __pycache__ -prune -exec rm -rf {} +
