# The benchmarks run and say what they should: cmake -DSTEP=… -DOPS=… -DMODEL=… -P smoke.cmake
execute_process(COMMAND ${STEP} --model ${MODEL} --batch 4 --steps 1 --threads 2 --gemm 64 --json
                OUTPUT_VARIABLE json COMMAND_ERROR_IS_FATAL ANY)
foreach(key median_ms pairs_per_s share_of_peak arena_bytes activation_bytes parameters loss)
  string(JSON value GET "${json}" ${key}) # fails where it is no JSON or has no such key
  if(NOT value GREATER 0)
    message(FATAL_ERROR "${key} is ${value}, wanted more than 0:\n${json}")
  endif()
endforeach()
execute_process(COMMAND ${OPS} --filter "demo relu" --seconds 0 --threads 2 --gemm 64
                OUTPUT_VARIABLE table COMMAND_ERROR_IS_FATAL ANY)
if(NOT table MATCHES "\\| demo relu[^|]*\\| +[0-9.]+ \\|")
  message(FATAL_ERROR "no such row:\n${table}")
endif()
