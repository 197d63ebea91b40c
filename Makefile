# Two commands: `make quickstart` shows everything working, `make test` checks everything.
#   make quickstart DATASET=quick_ict                 the same on ICT-FaceKit geometry
#   make quickstart DATASET=tiny TRAIN="--config.steps=20 --config.optim.warmup_steps=2"   a smoke test

PYTHON  ?= python3
VENV    ?= .venv
DATASET ?= quick
OUT     ?= quickstart/$(DATASET)
TRAIN   ?=

BIN      = $(VENV)/bin
RUN      = $(BIN)/painjax
DATA_DIR = $(or $(TFDS_DATA_DIR),$(HOME)/tensorflow_datasets)
CONFIG   = --config.data.name=pain3d/$(DATASET) --config.data.data_dir=$(DATA_DIR) $(TRAIN)
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: quickstart test install install-test gl lint clean

quickstart: install gl
	@echo "== 1/5 build 3DPain ($(DATASET))"
	@$(BIN)/tfds build tfds_builders/pain3d --config=$(DATASET) --data_dir=$(DATA_DIR)
	@echo "== 2/5 teacher: a ViT on pain heatmaps"
	@$(RUN) train --config=configs/teacher.py --workdir=$(OUT)/teacher $(CONFIG)
	@echo "== 3/5 student: a ViT on RGB, distilled from the teacher"
	@$(RUN) train --config=configs/student.py --workdir=$(OUT)/student --config.teacher=$(OUT)/teacher $(CONFIG)
	@echo "== 4/5 the same student without teacher or heatmaps, for comparison"
	@$(RUN) train --config=configs/student_supervised.py --workdir=$(OUT)/student_supervised $(CONFIG)
	@echo "== 5/5 evaluate on held-out people and report"
	@for run in teacher student student_supervised; do $(RUN) evaluate --workdir=$(OUT)/$$run --split=test || exit 1; done
	@$(RUN) report --workdir=$(OUT)/student --compare=$(OUT)/teacher --compare=$(OUT)/student_supervised
	@echo
	@echo "data     $(DATA_DIR)/pain3d/$(DATASET)  (read it: README, 'Use it in your own JAX project')"
	@for run in teacher student student_supervised; do echo "$$run  $(OUT)/$$run"; done
	@echo "report   $(OUT)/student/report.html  (open it in a browser)"

test: install-test gl
	@$(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart=0 --instafail

lint: install-test
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

PIP_INSTALL = $(BIN)/python -m pip install --progress-bar=off --quiet --disable-pip-version-check

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@echo "== 0/5 install into $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "PainJAX needs Python >= 3.11; name one with PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python cannot make virtual environments here: apt-get install python3-venv"; exit 1; }
	@$(PIP_INSTALL) -e '.[generate]'
	@touch $@

# The tests compare with PyTorch, which is large.
install-test: $(VENV)/.installed-test

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "== install what the tests need"
	@$(PIP_INSTALL) -e '.[generate,test]'
	@touch $@

# pyrender draws through EGL; on a machine without a GPU that is Mesa's software rasteriser. It imports a viewer, too,
# which is never opened and looks for libGL.
GL_PACKAGES = libegl1 libgl1 libgl1-mesa-dri libgles2

gl:
	@PATH="$$PATH:/usr/sbin:/sbin"; found=$$(ldconfig -p); missing=; \
	for library in libEGL.so.1 libGL.so.1 libGLESv2.so.2; do \
		case "$$found" in *"$$library "*) ;; *) missing=$$library ;; esac; \
	done; \
	if [ -z "$$missing" ]; then exit 0; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "== installing $(GL_PACKAGES)"; apt-get update -qq && apt-get install -y -qq $(GL_PACKAGES) >/dev/null; \
	else echo "Rendering needs EGL. Run once: sudo apt-get install -y $(GL_PACKAGES)"; exit 1; fi

clean:
	rm -rf quickstart build dist *.egg-info .pytest_cache .ruff_cache
