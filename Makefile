# Thin, for people: meson does the work. `make help` lists what there is.

BUILD = build/dev
DEMO = $(BUILD)/examples/shared_list

.PHONY: all setup test demo bench soak install format test-arm64 clean help
all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

help:
	@echo 'make             build, into $(BUILD)'
	@echo 'make test        all tests, the kill runs shortened; installs what is missing'
	@echo 'make demo        the example that shows what is there; installs what is missing'
	@echo 'make bench       figures, beside what else does the job'
	@echo 'make soak        the kill runs at full length, and the long loops'
	@echo 'make install     meson install; DESTDIR is respected'
	@echo 'make format      clang-format over all C'
	@echo 'make test-arm64  cross-build, and the tests in a virtual machine'
	@echo 'make clean       removes build/'

setup:
	@scripts/setup

# After setup, also when make runs several jobs: meson may not be there before.
$(BUILD)/build.ninja: | setup
	meson setup $(BUILD) -Ddefault_library=both --buildtype=debugoptimized

test: setup
	@$(MAKE) --no-print-directory all
	meson test -C $(BUILD) --no-rebuild --print-errorlogs

demo: setup
	@$(MAKE) --no-print-directory all
	$(DEMO)

bench: all
	bench/run

# Every instruction is a kill, also of long operations.
soak: setup
	test -f build/soak/build.ninja || meson setup build/soak -Ddefault_library=both -Dkill_sample=1000000
	ninja -C build/soak
	meson test -C build/soak --no-rebuild --print-errorlogs --suite kill --suite planted -t 20
	meson test -C build/soak --no-rebuild --print-errorlogs -t 20 --test-args 1800 killer_test killer_test-mutex
	KIN_TEST_ROUNDS=50000000 meson test -C build/soak --no-rebuild --print-errorlogs -t 60 heap_test lock_test

install: all
	meson install -C $(BUILD)

format:
	@scripts/check-format --fix

test-arm64:
	scripts/test-arm64

clean:
	rm -rf build
