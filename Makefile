# What people type; what runs, and why, is decided in src/tandem/graph. `make help` lists the targets.
ifneq ($(filter 3.% 4.0% 4.1%,$(MAKE_VERSION)),)
$(error GNU make $(MAKE_VERSION) is too old, 4.2 or newer is needed; on a Mac: brew install make, then type gmake for make)
endif
COMP ?= sample
$(if $(filter-out 1,$(words $(COMP)))$(strip $(foreach c,/ . * ? [ ; & | < > ~ ' " ` \ $$,$(findstring $c,$(COMP)))),$(error COMP='$(COMP)': expected the name of one competition))
PYTHON ?= python3
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check
LOCKED = $(if $(filter-out 0,$(or $(LOCK),1)),$(PIP) --no-deps --require-hashes -r $1.lock)
READY := .venv/.ready $(if $(filter ray,$(ENGINE)),.venv/.ready-ray) $(if $(shell grep -sE '^tracking *= *"' input/$(COMP)/competition.toml),.venv/.ready-tracking)
# those of the command line that only one target is to know, so that it can refuse them
GIVEN = $(if $(word 2,$(MAKECMDGOALS)),,$(foreach v,$(filter-out COMP CORES DEVICE ENGINE RAY_ADDRESS PYTHON LOCK TRUST COLUMNS BROWSER MAKE% TANDEM_% HF_% CUDA_%,$(.VARIABLES)), \
  $(if $(findstring command,$(origin $v)),$(if $(value $v),$v=$(call quoted,$(value $v))))))
TANDEM = @$(if $(CORES),TANDEM_THREADS="$(CORES)") $(if $(DEVICE),TANDEM_DEVICE="$(DEVICE)") $(if $(ENGINE),TANDEM_ENGINE="$(ENGINE)") $(if $(RAY_ADDRESS),RAY_ADDRESS="$(RAY_ADDRESS)") $(if $(strip $(GIVEN)),TANDEM_GIVEN=$(call quoted,$(strip $(GIVEN)))) .venv/bin/python -m tandem $@ $(COMP)
quoted = '$(subst ','\'',$1)'
# an option with a value as it was typed: make itself would expand a dollar sign in it
text = $(if $(value $2),$1 $(call quoted,$(value $2)))
GOAL = $(if $(EXPS),--exps "$(EXPS)") $(if $(STACK),--stack "$(STACK)") $(if $(BUDGET),--budget "$(BUDGET)")

.SUFFIXES:
.NOTPARALLEL:  # goals in order, -jN changes nothing: tasks run side by side as cores are free
.DEFAULT_GOAL := help
.PHONY: help setup import check plan folds features train pseudo stack submit scores report explain ablation predict \
  bundle serve review seeds tune add-features add-predictions blend new-model download upload leaderboard journal kernel \
  compare final clean-history test test-all test-pythons lock licences audit torture bench clean clean-cache

help:  ## Start: this list
	@echo "Tandem: from a competition zip to a validated submission."
	@echo 'Usage: make TARGET COMP=name (default: $(COMP)) [CORES=4] [DEVICE=cpu] [ENGINE=ray]'
	@awk -F ':.*## ' -v W=96 'BEGIN {n = split("Start Train Look Label Share Project", groups, " ")} \
	  function out(first, text,   i, k, words, line) {k = split(text, words, " "); line = first; \
	    for (i = 1; i <= k; i++) {if (length(line) + length(words[i]) >= W) {print line; line = sprintf("%20s", "")} line = line " " words[i]} print line} \
	  /^[a-z-]+:.*## / {split($$2, part, / [|] /); g = part[1]; sub(/: .*/, "", g); sub(/^[A-Za-z]+: /, "", part[1]); \
	    name[g, ++count[g]] = $$1; for (i = 1; i <= 3; i++) {field[g, count[g], i] = part[i]; delete part[i]}} \
	  END {for (a = 1; a <= n; a++) {g = groups[a]; print "\n" g; for (b = 1; b <= count[g]; b++) { \
	    out(sprintf("  %-18s", name[g, b]), field[g, b, 1]); \
	    if (field[g, b, 2] != "") out("            needs   ", field[g, b, 2]); \
	    if (field[g, b, 3] != "") out("            may have", field[g, b, 3])}}}' $(firstword $(MAKEFILE_LIST))
	@printf '\nExamples:\n  %s\n  %s\n  %s\n' 'make submit' 'make import ZIP=birds.zip COMP=birds' \
	  'make predict COMP=birds IMAGES=photos OUT=labels.csv'

setup: $(READY)  ## Start: .venv with requirements.txt (every other target does it first) |  | PYTHON=python3.11 LOCK=0 (no hashes)
.venv/.ready: requirements.txt requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; choose another: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) --no-deps $$(grep -E '^torch(vision)?==' requirements.txt)
	$(call LOCKED,requirements)
	$(PIP) -r requirements.txt  # what torch pulls in on this machine, and all without the lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@
.venv/.ready-ray .venv/.ready-dev: .venv/.ready-%: requirements-%.txt requirements-%.lock requirements-ray.txt .venv/.ready
	$(call LOCKED,requirements-$*)
	$(PIP) -r requirements-$*.txt && touch $@
.venv/.ready-tracking: requirements-tracking.txt requirements-tracking.lock .venv/.ready; @{ $(or $(call LOCKED,requirements-tracking),true) && $(PIP) -r requirements-tracking.txt && touch $@; } || echo "warning: requirements-tracking.txt could not be installed; nothing is logged into a tracker" >&2

import: $(READY)  ## Start: unpack a competition, infer its competition.toml | ZIP=file.zip (or DIR=folder) COMP=name | LABELS= ID= IMAGE= CAPTION= METRIC= SET="key=value"
	$(TANDEM) $(if $(ZIP),--zip "$(ZIP)") $(if $(DIR),--dir "$(DIR)") \
	  $(call text,--labels,LABELS) $(call text,--id,ID) $(call text,--image,IMAGE) $(call text,--caption,CAPTION) $(call text,--metric,METRIC) $(call text,--set,SET)
check:  ## Start: look at every row and every image, list the problems
plan: $(READY)  ## Train: what would run, why, and how long it takes; runs nothing |  | EXPS=quick (or "a b") BUDGET=20m TARGET=submit STACK=name
	$(TANDEM) $(GOAL) $(if $(TARGET),--target "$(TARGET)")
folds features train pseudo stack: $(READY)
	$(TANDEM) $(GOAL)
folds:  ## Train: multilabel-stratified folds, near-duplicates together
features:  ## Train: frozen image and caption features |  | EXPS="a b"
train:  ## Train: fit every experiment and fold, score out of fold |  | EXPS="a b" BUDGET=20m
pseudo:  ## Train: experiments that learn from unlabelled rows too, by pseudo-labels of fold-safe teachers |  | EXPS="a b"
stack:  ## Train: second level on out-of-fold predictions; stacks of other names stand side by side |  | EXPS="a b" STACK=two BUDGET=20m
submit: $(READY)  ## Train: all of it: write and validate submissions/COMP/stack.csv (EXPS=one: that one) |  | EXPS=quick (a set of sets.toml, or "a b") BUDGET=20m STACK=name DECODER=shrunk NOTE="what is new"
	$(TANDEM) $(GOAL) $(if $(DECODER),--decoder "$(DECODER)") $(call text,--note,NOTE)
scores: $(READY)  ## Look: the out-of-fold table, best first |  | DECODERS=1 (what each decoder scores)
	$(TANDEM) $(if $(filter-out 0,$(DECODERS)),--decoders)
report: $(READY)  ## Look: reports/COMP/index.html, one page about the submission: errors, and what to try next |  | EXP=stack OPEN=1
	$(TANDEM) $(if $(EXP),--exp "$(EXP)") $(if $(filter-out 0,$(OPEN)),--open)
explain: $(READY)  ## Look: why one image got its labels, in the terminal and as a page | ID=123.jpg | EXP=fusion OPEN=1
	$(TANDEM) $(call text,--id,ID) $(if $(EXP),--exp "$(EXP)") $(if $(filter-out 0,$(OPEN)),--open)
ablation: $(READY)  ## Look: a fusion network without each of its parts |  | EXP=fusion FOLDS=1 (a quick look) SEEDS=3 (seed noise)
	$(TANDEM) $(if $(EXP),--exp "$(EXP)") $(if $(FOLDS),--folds "$(FOLDS)") $(if $(SEEDS),--seeds "$(SEEDS)")
predict: $(READY)  ## Label: label new images | IMAGES=folder and/or CAPTIONS=file.csv, OUT=file.csv|.jsonl|- | EXP=stack DECODER=shrunk FAST=1 FOLDS=1 AGAIN=1 BUNDLE=file.zip TRUST=digest
	$(TANDEM) $(if $(DECODER),--decoder "$(DECODER)") $(if $(BUNDLE),--bundle "$(BUNDLE)") $(if $(TRUST),--trust "$(TRUST)") $(if $(EXP),--exp "$(EXP)") $(if $(filter-out 0,$(FAST)),--fast) $(if $(FOLDS),--folds "$(FOLDS)") \
	  $(if $(IMAGES),--images "$(IMAGES)") $(if $(OUT),--out "$(OUT)") $(if $(CAPTIONS),--captions "$(CAPTIONS)") $(if $(filter-out 0,$(AGAIN)),--again)
bundle: $(READY)  ## Share: bundles/COMP.zip, all that labelling needs, the best ensemble that fits |  | BUDGET_MB=100 BUDGET_MS=50 EXP=stack FOLDS=1
	$(TANDEM) $(if $(BUDGET_MB),--budget-mb "$(BUDGET_MB)") $(if $(BUDGET_MS),--budget-ms "$(BUDGET_MS)") $(if $(EXP),--exp "$(EXP)") $(if $(FOLDS),--folds "$(FOLDS)")
serve: $(READY)  ## Label: a page on this machine that labels photos |  | EXP=fusion FAST=1 PORT=8000 OPEN=1 FOLDS=1 BUNDLE=file.zip TRUST=digest
	$(TANDEM) $(if $(PORT),--port "$(PORT)") $(if $(FOLDS),--folds "$(FOLDS)") $(if $(EXP),--exp "$(EXP)") $(if $(BUNDLE),--bundle "$(BUNDLE)") $(if $(TRUST),--trust "$(TRUST)") $(if $(filter-out 0,$(FAST)),--fast) $(if $(filter-out 0,$(OPEN)),--open)
review: $(READY)  ## Label: look at suspect labels one by one and correct them; DIFF=1: what that changed |  | EXP=stack PORT=8000 OPEN=1 DIFF=1
	$(TANDEM) $(if $(EXP),--exp "$(EXP)") $(if $(PORT),--port "$(PORT)") $(if $(filter-out 0,$(OPEN)),--open) $(if $(filter-out 0,$(DIFF)),--diff)
seeds: $(READY)  ## Train: configs/fusion_seeds3.toml, an experiment with N seeds as one, trained, and what it gains | EXP=fusion | N=3
	$(TANDEM) $(if $(EXP),--exp "$(EXP)") $(if $(N),--n "$(N)")
tune: $(READY)  ## Train: search the settings that [tune] in its TOML names, write configs/EXP_tuned.toml and what it gains | EXP=concat | TRIALS=30 OUTER=0
	$(TANDEM) $(if $(EXP),--exp "$(EXP)") $(if $(TRIALS),--trials "$(TRIALS)") $(if $(OUTER),--outer "$(OUTER)")
new-model: $(READY)  ## Train: my_mine.py, configs/mine.toml and a test: a model of your own, to be changed | NAME=mine
	$(TANDEM) $(call text,--name,NAME)
add-features: $(READY)  ## Train: features from elsewhere, for features = ["clip"] | FILE=clip.parquet|.csv|.npy (or TRAIN= TEST=) NAME=clip | IDS=ids.txt ID=column READS=image|caption|both AGAIN=1
	$(TANDEM) $(call text,--file,FILE) $(call text,--train,TRAIN) $(call text,--test,TEST) $(call text,--unlabelled,UNLABELLED) $(call text,--extra,EXTRA) $(if $(NAME),--name "$(NAME)") $(call text,--ids,IDS) $(call text,--id,ID) \
	  $(if $(READS),--reads "$(READS)") $(if $(filter-out 0,$(AGAIN)),--again)
blend: $(READY)  ## Share: one submission of several | FILES="a.csv b.csv" | WEIGHTS="2 1" METHOD=vote|rank|logit OUT=submissions/COMP/blend.csv
	$(TANDEM) $(call text,--files,FILES) $(call text,--weights,WEIGHTS) $(if $(METHOD),--method "$(METHOD)") $(call text,--out,OUT)
add-predictions: $(READY)  ## Train: predictions from elsewhere become an experiment | NAME=notebook OOF=oof.csv TEST=test.csv (or ZIP=results.zip of train.ipynb) | FOLDS=folds.csv KIND=logits AGAIN=1 REMOVE=1
	$(TANDEM) $(if $(ZIP),--zip "$(ZIP)") $(if $(NAME),--name "$(NAME)") $(call text,--oof,OOF) $(call text,--test,TEST) $(call text,--folds,FOLDS) \
	  $(if $(KIND),--kind "$(KIND)") $(if $(filter-out 0,$(AGAIN)),--again) $(if $(filter-out 0,$(REMOVE)),--remove)

download leaderboard: $(READY)
	$(TANDEM) $(call text,--slug,SLUG)
download:  ## Start: fetch a competition from Kaggle and import it | SLUG=kaggle-slug COMP=name
leaderboard:  ## Look: your place at Kaggle, the scores around it, and what a medal needs |  | SLUG=kaggle-slug
upload: $(READY)  ## Share: send a submission to Kaggle, wait for its score, write it into the journal |  | EXP=stack (or FILE=my.csv) NOTE="what is new" YES=1 (sends the last one of the day, or a file again) SLUG=kaggle-slug
	$(TANDEM) $(call text,--file,FILE) $(if $(EXP),--exp "$(EXP)") $(call text,--note,NOTE) $(if $(filter-out 0,$(YES)),--yes) $(call text,--slug,SLUG)
kernel: $(READY)  ## Share: kernels/COMP/, notebooks and a dataset for a code competition, to run offline at Kaggle |  | EXPS=gpu (train these there) PUSH=1 (sends them) OWNER=user SLUG=kaggle-slug EXP=stack BUDGET_MB=100 BUNDLE=file.zip TRUST=digest
	$(TANDEM) $(if $(EXPS),--exps "$(EXPS)") $(if $(filter-out 0,$(PUSH)),--push) $(call text,--owner,OWNER) $(call text,--slug,SLUG) $(if $(EXP),--exp "$(EXP)") $(if $(BUDGET_MB),--budget-mb "$(BUDGET_MB)") $(if $(BUNDLE),--bundle "$(BUNDLE)") $(if $(TRUST),--trust "$(TRUST)")
journal: $(READY)  ## Look: every submission file so far: score, what changed, public score |  | REMOTE=1 (with the list at Kaggle) SLUG=kaggle-slug
	$(TANDEM) $(if $(filter-out 0,$(REMOTE)),--remote) $(call text,--slug,SLUG)
compare: $(READY)  ## Look: which is better, with its interval, and the photos where they differ: experiments, journal rows, CSV files | A=stack B=1 | OPEN=1
	$(TANDEM) $(call text,--a,A) $(call text,--b,B) $(if $(filter-out 0,$(OPEN)),--open)

test: .venv/.ready-dev  ## Project: lint, types and tests
	.venv/bin/ruff check . && .venv/bin/ruff format --check .
	.venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder
test-all: .venv/.ready-dev  ## Project: the tests, also those that take minutes
	.venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "slow or not slow" && $(MAKE) --no-print-directory test-pythons
lock licences audit test-pythons: .venv/.ready-dev
	@PYTHONPATH=tests:src .venv/bin/python -m supply_chain.$(subst test-,,$@)
lock:  ## Project: requirements*.lock: exact versions with SHA-256, which the set-up asks for
licences:  ## Project: the licence of each dependency, of the weights and of the sample's fonts
audit:  ## Project: known weaknesses of the locked versions, by pip-audit
test-pythons:  ## Project: the tests that need no torch, on Python 3.12 and 3.13 where installed
torture: .venv/.ready-dev  ## Project: kill runs and feed broken input, and count the faults |  | MINUTES=60 CAMPAIGNS="kill disk" SEED=1
	@PYTHONPATH=tests .venv/bin/python -m torture $(if $(MINUTES),--minutes "$(MINUTES)") $(if $(CAMPAIGNS),--campaigns "$(CAMPAIGNS)") $(if $(SEED),--seed "$(SEED)")
bench: .venv/.ready-dev  ## Project: the measured speeds
	@for b in benchmarks/*.py; do echo "== $$b"; .venv/bin/python $$b || exit 1; done
$(if $(and $(filter clean,$(MAKECMDGOALS)),$(filter-out clean,$(MAKECMDGOALS))),$(error make clean must be the only target: make clean COMP=$(COMP) && make $(filter-out clean,$(MAKECMDGOALS)) COMP=$(COMP)))
check clean clean-cache clean-history final: $(READY)
	$(TANDEM) $(if $(KEEP),--keep "$(KEEP)")
final:  ## Look: the two submissions to choose for the end, and why
clean:  ## Project: remove all that was built for a competition, never its input | COMP=name
clean-history:  ## Project: remove old kept files (never the journal): how much it frees | COMP=name | KEEP=10 (of the last 10 rows they stay)
clean-cache:  ## Project: remove features and resized images: results stay, training makes them again | COMP=name
.DEFAULT:
	@test -x .venv/bin/python && .venv/bin/python -m tandem $@ COMP=$(COMP) || { echo "make help lists the targets" >&2; exit 2; }
