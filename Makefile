# Everything a user or developer of Tihua types. `make` alone shows the list.
SHELL := /bin/bash
.DEFAULT_GOAL := help

IMAGE ?= Samples/landscape.jpg
ARGS ?=
PREFIX ?= /usr/local
DESTDIR ?=
SWIFT_SOURCES := Sources Tests Tools Benchmarks
DOCUMENTED := TihuaProsody TihuaVerse TihuaTokenizers TihuaPictures TihuaWeightFiles TihuaDataFiles TihuaCorpora TihuaTorch TihuaNN TihuaModels TihuaGeneration TihuaEncoders TihuaTraining TihuaMeasures Tihua

# On a busy machine OpenMP's default, waiting in a loop, costs far more than it gains.
export OMP_WAIT_POLICY ?= passive

.PHONY: help setup build poem test example plain starve install uninstall lint format docs parity bench sanitize clean

help: ## Show this list
	@echo "Tihua 题画: from pictures to Chinese poems"
	@echo
	@sed -nE 's/^([a-z]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name text; do \
	    printf '  make %-10s %s\n' "$$name" "$$text"; done
	@echo
	@echo "  e.g.  make poem IMAGE=photo.jpg ARGS='--form 七绝 --n 5'"

setup: ## Install what is missing: Debian packages, libtorch (every target below does it by itself)
	@Scripts/setup.sh

build: setup ## Build the command-line tool: .build/release/tihua
	@swift build -c release --product tihua

poem: build ## Print poems for a picture: IMAGE=photo.jpg, further options in ARGS='...'
	@.build/release/tihua poem "$(IMAGE)" $(ARGS)

test: setup ## Build everything and run all tests
	swift build --build-tests
	swift test

example: setup ## Build and run the example package that depends on this one, a picture to poems
	TIHUA_PACK="$(CURDIR)/Weights/mini" swift run --package-path Examples/PictureToPoem picture-to-poem "$(abspath $(IMAGE))"

plain: setup ## Run all tests as on a processor that ends with AVX2 (as far as this one lets itself be told)
	swift build --build-tests
	TIHUA_PLAIN_KERNELS=avx2 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 swift test

starve: setup ## Let allocations fail at 200 points of poem, caption, embed, train (an hour and more)
	swift build --build-tests
	TIHUA_POINTS=200 swift test --filter MemoryTests

install: build ## Install under PREFIX (/usr/local): the tool, its libraries, weights, shell completions
	@Scripts/install.sh "$(abspath $(PREFIX))" "$(DESTDIR)"

uninstall: ## Remove what `make install` put under PREFIX
	@Scripts/install.sh --remove "$(abspath $(PREFIX))" "$(DESTDIR)"

lint: setup ## Check the layout of the sources, what targets depend on, and that no C function lets an exception out
	swift format lint --strict --parallel --recursive $(SWIFT_SOURCES)
	@! LC_ALL=C.UTF-8 git grep -nE '^.{121,}' -- '*.swift' '*.h' '*.hpp' '*.cpp' '*.c' | grep -E '^[^:]+:[0-9]+: *//' \
	    || { echo "comments above are wider than 120 columns" >&2; exit 1; }
	@Scripts/check_imports.sh
	@Scripts/check_ctorch.sh

format: setup ## Lay the sources out
	swift format format --in-place --parallel --recursive $(SWIFT_SOURCES)

docs: setup ## Build the DocC pages of the libraries into .build/docs
	@mkdir -p .build/docs
	@for target in $(DOCUMENTED); do \
	    TIHUA_DOCS=1 swift package --allow-writing-to-directory .build/docs generate-documentation \
	        --target $$target --output-path .build/docs/$$target --transform-for-static-hosting || exit; done

parity: build ## Compare full-size models with Python's (needs pip packages torch and transformers, and with --no-deps cn_clip and efficientnet-lite-pytorch)
	@swift build -c release --product tihua-bench
	@Scripts/parity.sh

bench: build ## Measure speed against Python's (needs pip packages torch and transformers)
	@Scripts/bench.sh

sanitize: setup ## Run the binding and the file readers under AddressSanitizer (FUZZ=100000: for long)
	@Scripts/sanitize.sh

clean: ## Remove what the build made (Vendor/ stays)
	rm -rf .build
