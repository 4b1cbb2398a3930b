# Has something become much slower? cmake -DSTEP=… -DEMBED=… -DCONFIGS=folder -P guard.cmake
#
# Ratios, not times, on one thread and of processor time, so that a slow, shared or busy machine
# does not matter: useful FLOPs of a training step as a share of the peak that is measured right
# after it, and full captions' time over short ones', which the Transformer's packing makes cheap.
# What is below its threshold is measured again, three times in all; the best counts.
# Thresholds are about half of what was measured when they were written, so what fails has lost half
# of its speed, not a few percent. For those there is run.sh.

# The number of a key, in thousandths, since CMake computes with whole numbers only.
function(thousandths json key out)
  string(JSON value GET "${json}" ${key})
  if(NOT value MATCHES "^([0-9]+)\\.([0-9]+)$")
    message(FATAL_ERROR "${key} is ${value}, wanted a decimal fraction")
  endif()
  string(SUBSTRING "${CMAKE_MATCH_2}000" 0 3 fraction)
  string(REGEX REPLACE "^0+(.)" "\\1" whole "${CMAKE_MATCH_1}${fraction}")
  set(${out} ${whole} PARENT_SCOPE)
endfunction()

# Per cent of the peak that a training step reaches.
function(measure_share model out)
  execute_process(COMMAND ${STEP} --model ${CONFIGS}/${model}.json --batch 32 --threads 1 --steps 5
                  --gemm 256 --json OUTPUT_VARIABLE json COMMAND_ERROR_IS_FATAL ANY)
  thousandths("${json}" cpu_share_of_peak share)
  math(EXPR share "${share} / 10")
  set(${out} ${share} PARENT_SCOPE)
endfunction()

# Full captions' time over short ones', per cent.
function(measure_packing model out)
  foreach(tokens 3 30)
    execute_process(COMMAND ${EMBED} --model ${CONFIGS}/${model}.json --texts --batch 64 --threads 1
                    --steps 20 --gemm 0 --caption-tokens ${tokens} --json
                    OUTPUT_VARIABLE json COMMAND_ERROR_IS_FATAL ANY)
    thousandths("${json}" cpu_ms time_${tokens})
  endforeach()
  math(EXPR ratio "100 * ${time_30} / ${time_3}")
  set(${out} ${ratio} PARENT_SCOPE)
endfunction()

function(guard what model threshold)
  set(best 0)
  foreach(attempt RANGE 1 3)
    cmake_language(CALL measure_${what} ${model} found)
    if(found GREATER best)
      set(best ${found})
    endif()
    if(best GREATER_EQUAL threshold)
      message(STATUS "${what} of ${model}: ${best} %, at least ${threshold} wanted")
      return()
    endif()
  endforeach()
  message(SEND_ERROR "${what} of ${model}: ${best} % at best, wanted at least ${threshold}")
endfunction()

guard(share emoji-resnet-cbow 30)
guard(share emoji-vit-transformer 30)
guard(packing emoji-vit-transformer 300)
