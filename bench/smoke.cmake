# The benchmarks run and say what they should:
#   cmake -DSTEP=… -DEMBED=… -DOPS=… -DMODEL=… -P smoke.cmake
set(small --model ${MODEL} --batch 4 --steps 1 --threads 2)

# Fails where the text is no JSON, lacks a key, or has one that is not above 0.
function(check_report json)
  foreach(key ${ARGN})
    string(JSON value GET "${json}" ${key})
    if(NOT value GREATER 0)
      message(FATAL_ERROR "${key} is ${value}, wanted more than 0:\n${json}")
    endif()
  endforeach()
endfunction()

# Runs a command that must end with this code and this on standard error.
function(check_refusal code words)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result ERROR_VARIABLE error OUTPUT_QUIET)
  if(NOT result EQUAL code OR NOT error MATCHES "${words}")
    message(FATAL_ERROR "${ARGN}: ended with ${result}, wanted ${code} and \"${words}\":\n${error}")
  endif()
endfunction()

execute_process(COMMAND ${STEP} ${small} --gemm 64 --json
                OUTPUT_VARIABLE json COMMAND_ERROR_IS_FATAL ANY)
check_report("${json}" median_ms items_per_s share_of_peak cpu_share_of_peak arena_bytes
             arena_lower_bound activation_bytes parameters loss)
execute_process(COMMAND ${STEP} ${small} --gemm 64
                OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
if(NOT text MATCHES "pairs/s.* % of the peak of ")
  message(FATAL_ERROR "not a report:\n${text}")
endif()

# Turns, with captions of a file, which are fewer than the batch.
file(WRITE captions.txt "1 2 3\n4\n5 6 7 8\n")
file(WRITE wrong.txt "1 2 word\n")
file(WRITE two-lines.txt "\n\n")
foreach(what IN ITEMS "" --texts)
  execute_process(COMMAND ${EMBED} ${small} --gemm 0 --captions captions.txt --turns ${what}
                  INPUT_FILE two-lines.txt OUTPUT_VARIABLE turns COMMAND_ERROR_IS_FATAL ANY)
  if(NOT turns MATCHES "^ready\n({[^\n]*})\n({[^\n]*})\n$")
    message(FATAL_ERROR "wanted \"ready\" and two turns:\n${turns}")
  endif()
  check_report("${CMAKE_MATCH_1}" median_ms items_per_s useful_gflop)
  check_report("${CMAKE_MATCH_2}" median_ms items_per_s useful_gflop)
endforeach()

check_refusal(1 "found \"word\", wanted ids below" ${EMBED} ${small} --texts --captions wrong.txt)
check_refusal(1 "none.txt: cannot be opened" ${STEP} ${small} --captions none.txt)
check_refusal(2 "wanted f32 or bf16" ${STEP} ${small} --precision f16)
check_refusal(2 "which model" ${EMBED})

execute_process(COMMAND ${OPS} --filter "demo relu" --seconds 0 --threads 2 --gemm 64
                OUTPUT_VARIABLE table COMMAND_ERROR_IS_FATAL ANY)
if(NOT table MATCHES "\\| demo relu[^|]*\\| +[0-9.]+ \\|")
  message(FATAL_ERROR "no such row:\n${table}")
endif()
