# libclipgraph, shared and static, made of the folders' objects; and what is installed.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# What programs may include. A header on this list puts its declarations between CG_API_BEGIN and
# CG_API_END; tests/test_install.sh compares them with the symbols of the shared library.
set(PUBLIC_HEADERS
  clipgraph.h
  graph/arena.h graph/context.h graph/exec.h graph/file.h graph/graph.h graph/onnx.h graph/op.h graph/params.h
  graph/peak.h graph/plan.h graph/profile.h graph/rng.h graph/status.h graph/summary.h graph/types.h
  ops/bf16.h ops/check.h ops/epilogue.h ops/kernel.h ops/ops.def ops/ops.h ops/passes/passes.h
  autodiff/grad.h autodiff/gradcheck.h
  models/clip.h models/desc.h
  data/classes.h data/dataset.h data/image.h data/loader.h data/tokenizer.h
  data/transform.h
  serialize/checkpoint.h serialize/graph_json.h serialize/npy.h
  serialize/onnx/export.h serialize/onnx/metadata.h serialize/onnx/read.h
  serialize/onnx/session.h serialize/onnx/stored.h serialize/params_io.h serialize/safetensors.h serialize/tensor.h
  train/account.h train/check.h train/embed.h train/evaluate.h train/export.h train/match.h
  train/model.h train/optimizer.h train/parity.h train/program.h train/runner.h train/schedule.h
  train/train.h train/zero_shot.h)
list(TRANSFORM PUBLIC_HEADERS PREPEND ${PROJECT_SOURCE_DIR}/)

set(OBJECTS "")
foreach(folder IN ITEMS status graph ops autodiff models data serialize train)
  list(APPEND OBJECTS $<TARGET_OBJECTS:cg_${folder}>)
endforeach()
set(USES OpenMP::OpenMP_C DNNL::dnnl Threads::Threads m)
foreach(module IN LISTS CLIPGRAPH_MODULES)
  list(APPEND USES PkgConfig::${module})
endforeach()

# Before 1.0 each minor version has an interface of its own.
set(SOVERSION ${PROJECT_VERSION_MAJOR})
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(SOVERSION 0.${PROJECT_VERSION_MINOR})
endif()

add_library(clipgraph_shared SHARED ${OBJECTS})
add_library(clipgraph_static STATIC ${OBJECTS})
foreach(library IN ITEMS clipgraph_shared clipgraph_static)
  set_target_properties(${library} PROPERTIES OUTPUT_NAME clipgraph LINKER_LANGUAGE C
                        VERSION ${PROJECT_VERSION} SOVERSION ${SOVERSION})
  target_sources(${library} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}
                 FILES ${PUBLIC_HEADERS})
  target_include_directories(${library} INTERFACE $<BUILD_INTERFACE:${GENERATED}>)
  target_compile_features(${library} INTERFACE c_std_11)
endforeach()
target_link_libraries(clipgraph_static PRIVATE ${USES})
# Who links the shared library need not have what it is made with: no target of it is exported.
list(TRANSFORM USES REPLACE "^DNNL::dnnl$" "$<TARGET_LINKER_FILE:DNNL::dnnl>")
target_link_libraries(clipgraph_shared PRIVATE "$<BUILD_INTERFACE:cg_options;${USES}>")
if(NOT CLIPGRAPH_SANITIZE)
  target_link_options(clipgraph_shared PRIVATE LINKER:--no-undefined)
endif()
set_target_properties(clipgraph_shared PROPERTIES EXPORT_NAME clipgraph)

# --- what is installed ---------------------------------------------------------------------------
set(PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/clipgraph)
set(HEADER_DIR ${CMAKE_INSTALL_INCLUDEDIR}/clipgraph)
set(CLIPGRAPH_CONFIGS ${CMAKE_INSTALL_DATADIR}/clipgraph/configs)

install(TARGETS clipgraph)
install(TARGETS clipgraph_shared EXPORT clipgraphTargets FILE_SET HEADERS DESTINATION ${HEADER_DIR})
install(TARGETS clipgraph_static EXPORT clipgraphStaticTargets
        FILE_SET HEADERS DESTINATION ${HEADER_DIR})
# a file set's folders may not lie within one another, as a build folder does in the sources
install(FILES ${GENERATED}/graph/version.h DESTINATION ${HEADER_DIR}/graph)
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY models/configs/ DESTINATION ${CLIPGRAPH_CONFIGS} FILES_MATCHING PATTERN *.json)

# CMake: find_package(clipgraph)
install(EXPORT clipgraphTargets NAMESPACE clipgraph:: DESTINATION ${PACKAGE_DIR})
install(EXPORT clipgraphStaticTargets NAMESPACE clipgraph:: DESTINATION ${PACKAGE_DIR})
configure_package_config_file(cmake/clipgraphConfig.cmake.in clipgraphConfig.cmake
                              INSTALL_DESTINATION ${PACKAGE_DIR} PATH_VARS CLIPGRAPH_CONFIGS)
write_basic_package_version_file(clipgraphConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/clipgraphConfig.cmake
              ${PROJECT_BINARY_DIR}/clipgraphConfigVersion.cmake DESTINATION ${PACKAGE_DIR})

# pkg-config: the paths are relative to the file, so that the whole can be moved.
file(RELATIVE_PATH PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
foreach(place IN ITEMS LIBDIR INCLUDEDIR DATADIR)
  file(RELATIVE_PATH PC_${place} ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_${place}})
endforeach()
# No Requires.private: even who links the shared library would then need those modules.
list(TRANSFORM OpenMP_C_LIB_NAMES PREPEND -l OUTPUT_VARIABLE PC_PRIVATE)
foreach(module IN LISTS CLIPGRAPH_MODULES)
  list(APPEND PC_PRIVATE ${${module}_LDFLAGS})
endforeach()
list(TRANSFORM CMAKE_C_IMPLICIT_LINK_DIRECTORIES PREPEND -L OUTPUT_VARIABLE USUAL)
list(REMOVE_ITEM PC_PRIVATE ${USUAL})
list(JOIN PC_PRIVATE " " PC_PRIVATE)
configure_file(cmake/clipgraph.pc.in clipgraph.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/clipgraph.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
