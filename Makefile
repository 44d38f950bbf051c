# What people type; what runs, and why, is decided in src/tandem/graph. `make help` lists the targets.
ifneq ($(filter 3.% 4.0% 4.1%,$(MAKE_VERSION)),)
$(error GNU make $(MAKE_VERSION) is too old, 4.2 or newer is needed; on a Mac: brew install make, then type gmake for make)
endif
COMP ?= sample
$(if $(filter-out 1,$(words $(COMP)))$(strip $(foreach c,/ . * ? [ ; & | < > ~ ' " ` \ $$,$(findstring $c,$(COMP)))),$(error COMP='$(COMP)': expected the name of one competition))
PYTHON ?= python3
JOBS ?= $(or $(patsubst -j%,%,$(filter -j%,$(MAKEFLAGS))),1)
READY := .venv/.ready
TANDEM = @$(if $(CORES),TANDEM_THREADS="$(CORES)") .venv/bin/python -m tandem $@ $(COMP)
quoted = '$(subst ','\'',$1)'
GOAL = $(if $(EXPS),--exps "$(EXPS)") $(if $(STACK),--stack "$(STACK)") --jobs "$(JOBS)"

.SUFFIXES:
.NOTPARALLEL:  # goals in order; JOBS=N or -jN is how many tasks Python runs at once
.DEFAULT_GOAL := help
.PHONY: help setup import check plan folds features train pseudo stack submit scores report explain ablation predict \
  bundle serve review seeds tune add-features add-predictions blend new-model download upload test test-all bench clean

help:  ## this list
	@echo "Tandem: from a competition zip to a validated submission."
	@echo "Usage: make TARGET [COMP=sample] [EXPS=\"image_lite0 text_minilm\"] [JOBS=2]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY)  ## .venv with requirements.txt (every other target does it first)
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; choose another: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
.venv/.ready-dev: requirements-dev.txt $(READY)
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

import: $(READY)  ## ZIP=file.zip (or DIR=folder) COMP=name [LABELS= ID= IMAGE= CAPTION= METRIC= SET="key=value"]: unpack, infer competition.toml
	$(TANDEM) $(if $(ZIP),--zip "$(ZIP)") $(if $(DIR),--dir "$(DIR)") \
	  $(if $(LABELS),--labels $(call quoted,$(LABELS))) $(if $(ID),--id $(call quoted,$(ID))) $(if $(IMAGE),--image $(call quoted,$(IMAGE))) \
	  $(if $(CAPTION),--caption $(call quoted,$(CAPTION))) $(if $(METRIC),--metric $(call quoted,$(METRIC))) $(if $(SET),--set $(call quoted,$(SET)))
check: $(READY)  ## look at every row and every image, list the problems
	$(TANDEM)
plan: $(READY)  ## [TARGET=submit]: what would run, and why; runs nothing
	$(TANDEM) $(GOAL) $(if $(TARGET),--target "$(TARGET)")
folds features train pseudo stack: $(READY)
	$(TANDEM) $(GOAL)
folds:  ## multilabel-stratified folds, near-duplicates together
features:  ## frozen image and caption features
train:  ## fit every experiment and fold, score out of fold
pseudo:  ## experiments that learn from unlabelled rows too, by pseudo-labels of fold-safe teachers
stack:  ## [EXPS="a b" STACK=two]: second level on out-of-fold predictions; stacks of other names stand side by side
submit: $(READY)  ## [STACK=name] [DECODER=shrunk]: write and validate submissions/COMP/stack.csv (EXPS=one: that one); and stack.shrunk.csv
	$(TANDEM) $(GOAL) $(if $(DECODER),--decoder "$(DECODER)")
scores: $(READY)  ## [DECODERS=1]: the out-of-fold table, best first
	$(TANDEM) $(if $(filter-out 0,$(DECODERS)),--decoders)
report: $(READY)  ## [EXP=stack] [OPEN=1]: reports/COMP/index.html, one page about the submission: errors, and what to try next
	$(TANDEM) $(if $(EXP),--exp "$(EXP)") $(if $(filter-out 0,$(OPEN)),--open)
explain: $(READY)  ## ID=123.jpg [EXP=fusion] [OPEN=1]: why one image got its labels, in the terminal and as a page
	$(TANDEM) --id "$(ID)" $(if $(EXP),--exp "$(EXP)") $(if $(filter-out 0,$(OPEN)),--open)
ablation: $(READY)  ## [EXP=fusion]: the network without each of its parts; FOLDS=1 for a quick look, SEEDS=3 for seed noise
	$(TANDEM) $(if $(EXP),--exp "$(EXP)") $(if $(FOLDS),--folds "$(FOLDS)") $(if $(SEEDS),--seeds "$(SEEDS)")
predict: $(READY)  ## IMAGES=folder and/or CAPTIONS=file.csv, OUT=file.csv|.jsonl|- [EXP=stack] [DECODER=shrunk] [FAST=1] [AGAIN=1] [BUNDLE=file.zip TRUST=]: label new images
	$(TANDEM) $(if $(DECODER),--decoder "$(DECODER)") $(if $(BUNDLE),--bundle "$(BUNDLE)") $(if $(TRUST),--trust "$(TRUST)") $(if $(EXP),--exp "$(EXP)") $(if $(filter-out 0,$(FAST)),--fast) $(if $(FOLDS),--folds "$(FOLDS)") \
	  $(if $(IMAGES)$(CAPTIONS),,$(error make predict needs IMAGES=folder))$(if $(IMAGES),--images "$(IMAGES)") --out "$(or $(OUT),$(error make predict needs OUT=file.csv))" $(if $(CAPTIONS),--captions "$(CAPTIONS)") $(if $(filter-out 0,$(AGAIN)),--again)
bundle: $(READY)  ## [BUDGET_MB=100] [BUDGET_MS=] [EXP=]: bundles/COMP.zip, all that labelling needs, the best ensemble that fits
	$(TANDEM) $(if $(BUDGET_MB),--budget-mb "$(BUDGET_MB)") $(if $(BUDGET_MS),--budget-ms "$(BUDGET_MS)") $(if $(EXP),--exp "$(EXP)") $(if $(FOLDS),--folds "$(FOLDS)")
serve: $(READY)  ## [COMP= or BUNDLE=file.zip TRUST=] [EXP=fusion] [FAST=1] [PORT=8000] [OPEN=1]: a page on this machine that labels photos
	$(TANDEM) $(if $(PORT),--port "$(PORT)") $(if $(FOLDS),--folds "$(FOLDS)") $(if $(EXP),--exp "$(EXP)") $(if $(BUNDLE),--bundle "$(BUNDLE)") $(if $(TRUST),--trust "$(TRUST)") $(if $(filter-out 0,$(FAST)),--fast) $(if $(filter-out 0,$(OPEN)),--open)
review: $(READY)  ## [EXP=stack] [PORT=8000] [OPEN=1]: look at suspect labels one by one, correct them; DIFF=1: what that changed
	$(TANDEM) $(if $(EXP),--exp "$(EXP)") $(if $(PORT),--port "$(PORT)") $(if $(filter-out 0,$(OPEN)),--open) $(if $(filter-out 0,$(DIFF)),--diff)
seeds: $(READY)  ## EXP=fusion [N=3]: configs/fusion_seeds3.toml, the same experiment with N seeds as one, trained, and what it gains
	$(TANDEM) --exp "$(or $(EXP),$(error make seeds needs EXP=name))" $(if $(N),--n "$(N)") --jobs "$(JOBS)"
tune: $(READY)  ## EXP=concat [TRIALS=30] [OUTER=0]: search the settings that [tune] in its TOML names, write configs/EXP_tuned.toml and what it gains
	$(TANDEM) --exp "$(or $(EXP),$(error make tune needs EXP=name))" $(if $(TRIALS),--trials "$(TRIALS)") $(if $(OUTER),--outer "$(OUTER)")
new-model: $(READY)  ## NAME=mine: my_mine.py, configs/mine.toml and a test: a model of your own, to be changed
	$(TANDEM) --name $(call quoted,$(or $(NAME),$(error make new-model needs NAME=mine)))
add-features: $(READY)  ## FILE=clip.parquet|.csv|.npy (or TRAIN= TEST=) NAME=clip [IDS=ids.txt] [READS=image|caption|both] [AGAIN=1]: features = ["clip"]
	$(TANDEM) $(if $(FILE),--file $(call quoted,$(FILE))) $(if $(TRAIN),--train $(call quoted,$(TRAIN))) $(if $(TEST),--test $(call quoted,$(TEST))) $(if $(UNLABELLED),--unlabelled $(call quoted,$(UNLABELLED))) \
	  $(if $(EXTRA),--extra $(call quoted,$(EXTRA))) --name "$(or $(NAME),$(error make add-features needs NAME=clip))" $(if $(IDS),--ids $(call quoted,$(IDS))) $(if $(ID),--id $(call quoted,$(ID))) \
	  $(if $(READS),--reads "$(READS)") $(if $(filter-out 0,$(AGAIN)),--again)
blend: $(READY)  ## FILES="a.csv b.csv" [WEIGHTS="2 1"] [METHOD=vote|rank|logit] [OUT=submissions/COMP/blend.csv]: one submission of several
	$(TANDEM) --files $(call quoted,$(or $(FILES),$(error make blend needs FILES="a.csv b.csv"))) $(if $(WEIGHTS),--weights $(call quoted,$(WEIGHTS))) $(if $(METHOD),--method "$(METHOD)") $(if $(OUT),--out $(call quoted,$(OUT)))
add-predictions: $(READY)  ## NAME=notebook OOF=oof.csv TEST=test.csv [FOLDS=folds.csv KIND=logits AGAIN=1 REMOVE=1]: predictions from elsewhere become an experiment
	$(TANDEM) --name "$(NAME)" $(if $(OOF),--oof $(call quoted,$(OOF))) $(if $(TEST),--test $(call quoted,$(TEST))) $(if $(FOLDS),--folds $(call quoted,$(FOLDS))) \
	  $(if $(KIND),--kind "$(KIND)") $(if $(filter-out 0,$(AGAIN)),--again) $(if $(filter-out 0,$(REMOVE)),--remove)

download: $(READY)  ## SLUG=kaggle-slug COMP=name: fetch a competition and import it
	.venv/bin/kaggle competitions download -c "$(SLUG)" -p build/download
	$(MAKE) import ZIP="build/download/$(SLUG).zip" COMP=$(COMP)
upload: $(READY)  ## SLUG=kaggle-slug MESSAGE="…" COMP=name [STACK=name]: send submissions/COMP/stack.csv
	.venv/bin/kaggle competitions submit -c "$(SLUG)" -f submissions/$(COMP)/$(or $(STACK),stack).csv -m "$(MESSAGE)"

test: .venv/.ready-dev  ## lint, types and tests
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
test-all: .venv/.ready-dev  ## the tests, also those that take minutes
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "slow or not slow"
bench: .venv/.ready-dev  ## the measured speeds
	@for b in benchmarks/*.py; do echo "== $$b"; .venv/bin/python $$b || exit 1; done
$(if $(and $(filter clean,$(MAKECMDGOALS)),$(filter-out clean,$(MAKECMDGOALS))),$(error make clean must be the only target: make clean COMP=$(COMP) && make $(filter-out clean,$(MAKECMDGOALS)) COMP=$(COMP)))
clean:  ## COMP=name: remove all that was built for it, never its input
	rm -rf build/$(COMP) features/$(COMP) models/$(COMP) oof/$(COMP) submissions/$(COMP) reports/$(COMP) folds/$(COMP).csv folds/$(COMP).json bundles/$(COMP).zip
