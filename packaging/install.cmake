# Where things are installed. Included before any target, so that every folder of the tree finds here
#
#   MIRL_INSTALL_USER       option: install into the user's own folders, without root: programs, library and
#                           data under ~/.local, adapters where each host looks for the user's own add-ons
#   MIRL_USER_DATA_HOME     $XDG_DATA_HOME, or ~/.local/share
#   MIRL_USER_CONFIG_HOME   $XDG_CONFIG_HOME, or ~/.config
#
# Otherwise CMAKE_INSTALL_PREFIX rules for all but the adapters, which go where their host looks.
# Components, each a Debian package of its own: libmirl (library and weights), mirl (program, man pages,
# completion), gimp-plugin-mirl, gegl-mirl, imagemagick-mirl; and libmirl-dev (header).

option(MIRL_INSTALL_USER "Install into the user's own folders, without root" OFF)
foreach(kind DATA:.local/share CONFIG:.config)
  string(REPLACE ":" ";" kind ${kind})
  list(GET kind 0 name)
  list(GET kind 1 folder)
  if("$ENV{XDG_${name}_HOME}" MATCHES "^/")
    set(MIRL_USER_${name}_HOME "$ENV{XDG_${name}_HOME}")
  else()
    set(MIRL_USER_${name}_HOME "$ENV{HOME}/${folder}")
  endif()
endforeach()

if(MIRL_INSTALL_USER AND CMAKE_INSTALL_PREFIX MATCHES "^/usr(/local)?$")
  set(CMAKE_INSTALL_PREFIX "$ENV{HOME}/.local" CACHE PATH "Install path prefix" FORCE)
endif()
include(GNUInstallDirs)
# The linker finds by itself what lies in /usr; elsewhere libmirl is found by its path.
if(NOT CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  set(CMAKE_INSTALL_RPATH "${CMAKE_INSTALL_FULL_LIBDIR}")
endif()
