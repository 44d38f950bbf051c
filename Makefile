# Tandem: every arrow of the pipeline is a file; `make help` lists the targets.
ifneq ($(filter 3.% 4.0% 4.1%,$(MAKE_VERSION)),)
$(error GNU make $(MAKE_VERSION) is too old, 4.2 or newer is needed; on a Mac: brew install make, then type gmake for make)
endif
COMP ?= sample
$(if $(filter-out 1,$(words $(COMP)))$(strip $(foreach c,/ . * ? [ ; & | < > ~ ' " ` \ $$,$(findstring $c,$(COMP)))),$(error COMP='$(COMP)': expected the name of one competition))
PYTHON ?= python3

READY := .venv/.ready
TANDEM := .venv/bin/python -m tandem
BUILD := build/$(COMP)
TABLES := $(foreach s,train test unlabelled,$(BUILD)/$s.images.parquet $(BUILD)/$s.captions.parquet) $(BUILD)/train.labels.parquet
SCHEMA := configs $(wildcard configs/*.toml) $(wildcard src/tandem/config/*.py)

# threads a job uses times jobs at once = cores; idle OpenMP threads must not spin beside another job's
CORES := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
JOBS = $(or $(patsubst -j%,%,$(filter -j%,$(MAKEFLAGS))),1)
export TANDEM_THREADS = $(shell echo $$(( $(CORES) > $(JOBS) ? $(CORES) / $(JOBS) : 1 )))
export OMP_WAIT_POLICY := PASSIVE
# glibc keeps the memory of a step's large tensors for the next step, instead of giving it back in between
export MALLOC_MMAP_THRESHOLD_ := 1073741824
export MALLOC_TRIM_THRESHOLD_ := 8589934592
export PYTHONUNBUFFERED := 1

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
STAGES := folds features train pseudo stack submit ablation
.PHONY: help setup import check predict bundle explain serve scores report test bench clean download upload $(STAGES)

help:  ## this list
	@echo "Tandem: from a competition zip to a validated submission."
	@echo "Usage: make TARGET [COMP=sample] [EXPS=\"image_lite0 text_minilm\"] [-j2]"
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# ---- set-up
setup: $(READY)  ## .venv with requirements.txt (every other target does it first)
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; say which one to use: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# ---- bringing a competition
import: $(READY)  ## ZIP=file.zip (or DIR=folder) COMP=name: unpack, infer competition.toml
	@$(TANDEM) import --comp $(COMP) $(if $(ZIP),--zip "$(ZIP)") $(if $(DIR),--dir "$(DIR)")

input/sample/competition.toml: | $(READY)
	$(TANDEM) sample --comp sample

input/%/competition.toml:
	@echo "error: $@ does not exist; run: make import ZIP=file.zip COMP=$*" >&2; exit 1

check: $(BUILD)/graph.mk  ## look at every row and every image, list the problems
	@$(TANDEM) check --comp $(COMP)

# ---- the graph: which experiment needs which features, read from configs/ and competition.toml
GRAPHED := check $(STAGES) $(if $(FAST),predict)
# named beside stages of the pipeline, these wait for them, with -j too
bundle explain predict report scores serve: | $(filter $(STAGES),$(MAKECMDGOALS))
LABELS := $(if $(FAST),fast,$(or $(EXP),stack))
ifneq ($(filter $(GRAPHED) oof/% submissions/% features/% folds/%,$(MAKECMDGOALS)),)
include $(BUILD)/graph.mk
endif
$(BUILD)/graph.mk: input/$(COMP)/competition.toml $(SCHEMA) | $(READY)
	@$(TANDEM) resolve --comp $(COMP)

ifeq ($(strip $(EXPS)),gpu)
CHOSEN := $(filter gpu_%,$(KNOWN_EXPS))
else
CHOSEN := $(or $(filter-out stack,$(EXPS)),$(DEFAULT_EXPS))
endif
SCORED := $(KNOWN_EXPS) stack
# one that is asked for alone needs no stack
SUBMITTED := $(or $(if $(filter-out stack,$(EXPS)),$(if $(filter 1,$(words $(CHOSEN))),$(CHOSEN))),stack)
MEMBERS := $(BUILD)/members.txt
ifdef KNOWN_EXPS
UNKNOWN := $(filter-out $(KNOWN_EXPS),$(CHOSEN))
$(if $(UNKNOWN),$(error EXPS: '$(UNKNOWN)' has no file in configs/ that fits this competition; there are: $(KNOWN_EXPS)))
# which experiments the stack has: a file, so that make sees a change
ifneq ($(filter stack,$(filter stack,$(MAKECMDGOALS)) $(if $(filter submit,$(MAKECMDGOALS)),$(SUBMITTED))),)
ifneq ($(strip $(file <$(MEMBERS))),$(strip $(CHOSEN)))
$(shell mkdir -p $(BUILD))
$(file >$(MEMBERS),$(CHOSEN))
endif
endif
endif

# ---- the stages
ifdef KNOWN_EXPS
$(BUILD)/checked: input/$(COMP)/competition.toml $(CHECK_INPUTS)
	$(TANDEM) check --comp $(COMP)
$(TABLES): $(BUILD)/checked ;
# rewritten only when a value changes, so newer than what was built from them only then
$(BUILD)/folds.json $(BUILD)/metric.json $(KNOWN_EXPS:%=$(BUILD)/experiments/%.json) $(ENCODERS:%=$(BUILD)/encoders/%.json): $(BUILD)/graph.mk ;

folds: folds/$(COMP).csv  ## multilabel-stratified folds, near-duplicates together
folds/$(COMP).csv: $(BUILD)/train.labels.parquet $(BUILD)/train.images.parquet $(BUILD)/folds.json
	$(TANDEM) folds --comp $(COMP)

features: $(sort $(foreach e,$(CHOSEN),$($e_FEATURES)))  ## frozen image and caption features
$(ENCODERS:%=features/$(COMP)/%.train.npy): features/$(COMP)/%.train.npy: $(BUILD)/encoders/%.json
	$(TANDEM) features --comp $(COMP) --encoder $* --split train
# the run above wrote them too: this one then only looks
define OTHER_FEATURES
$(ENCODERS:%=features/$(COMP)/%.$(1).npy): features/$(COMP)/%.$(1).npy: $(BUILD)/encoders/%.json | features/$(COMP)/%.train.npy
	@$(TANDEM) features --comp $(COMP) --encoder $$* --split $(1)
endef
$(foreach s,test unlabelled,$(eval $(call OTHER_FEATURES,$s)))

train: $(CHOSEN:%=oof/$(COMP)/%/thresholds.json) $(CHOSEN:%=oof/$(COMP)/%/test.parquet)  ## fit every experiment and fold, score out of fold
$(KNOWN_EXPS:%=oof/$(COMP)/%/oof.parquet): oof/$(COMP)/%/oof.parquet: $(BUILD)/experiments/%.json folds/$(COMP).csv
	$(TANDEM) train --comp $(COMP) --exp $*
$(KNOWN_EXPS:%=oof/$(COMP)/%/test.parquet): oof/$(COMP)/%/test.parquet: oof/$(COMP)/%/oof.parquet
	$(TANDEM) train --comp $(COMP) --exp $*

pseudo: $(PSEUDO_EXPS:%=oof/$(COMP)/%/thresholds.json) $(PSEUDO_EXPS:%=oof/$(COMP)/%/test.parquet)  ## students: learn from unlabelled rows too, as fold-safe teachers see them
	@$(TANDEM) scores --comp $(COMP)

stack: oof/$(COMP)/stack/thresholds.json  ## second level on out-of-fold predictions
oof/$(COMP)/stack/oof.parquet: $(MEMBERS) $(CHOSEN:%=oof/$(COMP)/%/oof.parquet) | $(CHOSEN:%=oof/$(COMP)/%/test.parquet)
	$(TANDEM) stack --comp $(COMP) --exps $(CHOSEN)
oof/$(COMP)/stack/test.parquet: oof/$(COMP)/stack/oof.parquet $(CHOSEN:%=oof/$(COMP)/%/test.parquet)
	$(TANDEM) stack --comp $(COMP) --exps $(CHOSEN)

$(SCORED:%=oof/$(COMP)/%/thresholds.json): oof/$(COMP)/%/thresholds.json: oof/$(COMP)/%/oof.parquet $(BUILD)/metric.json
	@$(TANDEM) decode --comp $(COMP) --exp $*

submit: submissions/$(COMP)/$(SUBMITTED).csv  ## write and validate submissions/COMP/stack.csv (EXPS=one: that one)
$(SCORED:%=submissions/$(COMP)/%.csv): submissions/$(COMP)/%.csv: oof/$(COMP)/%/test.parquet oof/$(COMP)/%/thresholds.json $(SUBMIT_INPUTS) | $(CHOSEN:%=oof/$(COMP)/%/thresholds.json)
	@$(TANDEM) submit --comp $(COMP) --exp $*
	-@$(TANDEM) scores --comp $(COMP)
endif

ifdef KNOWN_EXPS
ABLATED := $(or $(EXP),$(ABLATED_EXP))
ablation: folds/$(COMP).csv $(BUILD)/metric.json $(BUILD)/experiments/$(ABLATED).json $($(ABLATED)_FEATURES)  ## [EXP=fusion]: the network without each of its parts; FOLDS=1 for a quick look
	@$(TANDEM) ablation --comp $(COMP) --exp $(ABLATED) --folds $(or $(FOLDS),0)
endif

ifdef FAST
ifneq ($(KNOWN_EXPS),)
$(if $(filter fast,$(KNOWN_EXPS)),,$(error FAST=1: configs/fast.toml reads captions, which $(COMP) has none of; without FAST the submission's models label))
endif
predict: oof/$(COMP)/fast/thresholds.json
endif
# what labels must have been trained with the settings as they are
bundle explain predict serve: | $(if $(BUNDLE),,$(if $(wildcard input/$(COMP)/competition.toml),$(BUILD)/graph.mk))

predict: $(READY)  ## IMAGES=folder OUT=file.csv|.jsonl|- [CAPTIONS=file.csv] [FAST=1] [BUNDLE=file.zip]: label new images
	@$(TANDEM) predict $(if $(BUNDLE),--bundle "$(BUNDLE)",--comp $(COMP) --exp $(LABELS) --folds $(or $(FOLDS),0)) \
	  --images "$(or $(IMAGES),$(error make predict needs IMAGES=folder))" --out "$(or $(OUT),$(error make predict needs OUT=file.csv))" $(if $(CAPTIONS),--captions "$(CAPTIONS)")

bundle: $(READY)  ## [BUDGET_MB=100] [BUDGET_MS=]: bundles/COMP.zip, all that labelling needs, the best ensemble that fits
	@$(TANDEM) bundle --comp $(COMP) --mb $(or $(BUDGET_MB),100) $(if $(BUDGET_MS),--ms $(BUDGET_MS)) $(if $(EXP),--exp $(EXP) --folds $(or $(FOLDS),0))

explain: $(READY)  ## ID=123.jpg [EXP=fusion]: why one image got its labels, in the terminal and as a page
	@$(TANDEM) explain --comp $(COMP) --id "$(ID)" $(if $(EXP),--exp $(EXP))

serve: $(READY)  ## [COMP= or BUNDLE=file.zip] [EXP=fusion] [PORT=8000]: a page on this machine that labels photos
	@$(TANDEM) serve --comp $(COMP) --port $(or $(PORT),8000) --folds $(or $(FOLDS),0) $(if $(EXP),--exp $(EXP)) $(if $(BUNDLE),--bundle "$(BUNDLE)")

scores: $(READY)  ## the out-of-fold table, best first
	@$(TANDEM) scores --comp $(COMP)

report: $(READY)  ## [EXP=stack]: reports/COMP/index.html, one page about the submission: what is right, wrong, and next
	@$(TANDEM) report --comp $(COMP) $(if $(EXP),--exp $(EXP))

# ---- the Kaggle round trip
download: $(READY)  ## SLUG=kaggle-slug COMP=name: fetch a competition and import it
	.venv/bin/kaggle competitions download -c "$(SLUG)" -p build/download
	$(MAKE) import ZIP="build/download/$(SLUG).zip" COMP=$(COMP)
upload: $(READY)  ## SLUG=kaggle-slug MESSAGE="…" COMP=name: send submissions/COMP/stack.csv
	.venv/bin/kaggle competitions submit -c "$(SLUG)" -f submissions/$(COMP)/stack.csv -m "$(MESSAGE)"

# ---- the project itself
test: $(READY)  ## lint and tests
	.venv/bin/ruff check . && .venv/bin/ruff format --check .
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
bench: $(READY)  ## the measured speeds
	@for b in benchmarks/*.py; do echo "== $$b"; .venv/bin/python $$b || exit 1; done
ifneq ($(filter clean,$(MAKECMDGOALS)),)
ifneq ($(filter-out clean,$(MAKECMDGOALS)),)
$(error make clean goes alone: make clean COMP=$(COMP) && make $(filter-out clean,$(MAKECMDGOALS)) COMP=$(COMP))
endif
endif
clean:  ## COMP=name: remove all that was built for it, never its input
	rm -rf build/$(COMP) features/$(COMP) models/$(COMP) oof/$(COMP) submissions/$(COMP) reports/$(COMP) folds/$(COMP).csv bundles/$(COMP).zip
