// A still life by a window, for the README's pictures and for trials: fruit, a glazed bowl, a bottle and
// books on an oak table before a plastered wall. Rendered by packaging/pictures/make.
#version 3.7;
#include "colors.inc"
#include "textures.inc"
#include "woods.inc"
#include "functions.inc"

global_settings {
  assumed_gamma 1
  radiosity { pretrace_start 0.08 pretrace_end 0.01 count 50 nearest_count 8 error_bound 0.6 recursion_limit 2 }
}
#default { finish { ambient 0 diffuse 0.8 } }

camera {
  location <0.1, 3.8, -10.8>
  look_at <0.25, 1.35, 0>
  angle 43
  right x * 3 / 2
  aperture 0.09
  focal_point <0, 1, -1.5>
  blur_samples 12
  variance 1 / 4000
}

light_source { // the window
  <-14, 12, -7> rgb <1.0, 0.95, 0.86> * 1.25
  area_light 4 * z, 4 * y, 6, 6 adaptive 1 jitter
}
light_source { <9, 6, -12> rgb <0.55, 0.65, 0.85> * 0.16 shadowless }
sky_sphere { pigment { rgb <0.55, 0.62, 0.72> * 0.35 } }

// The wall: plaster with trowel marks over faint stains
plane {
  -z, -4.2
  pigment {
    bozo scale 1.4 turbulence 0.8 lambda 2.4
    color_map { [0 rgb <0.52, 0.56, 0.53>] [0.6 rgb <0.60, 0.63, 0.58>] [1 rgb <0.68, 0.68, 0.61>] }
  }
  normal { granite 0.16 scale 1.6 }
}

// The table: planks of oak
#declare Plank = difference {
  box { <-20, -0.3, -0.72>, <20, 0, 0.72> }
  cylinder { <-21, 0.02, 0.73>, <21, 0.02, 0.73>, 0.035 }
  cylinder { <-21, 0.02, -0.73>, <21, 0.02, -0.73>, 0.035 }
}
#declare Lot = seed(41);
#declare Row = -4;
#while (Row < 4)
  object {
    Plank
    texture {
      pigment {
        wood turbulence 0.06 octaves 4 scale <0.16, 0.16, 1>
        rotate <2 + 2 * rand(Lot), 88 + 3 * rand(Lot), 0>
        translate <10 * rand(Lot), 3 * rand(Lot), 3 * rand(Lot)>
        color_map { [0 rgb <0.36, 0.21, 0.11>] [0.55 rgb <0.45, 0.28, 0.15>] [0.9 rgb <0.30, 0.16, 0.08>] [1 rgb <0.22, 0.11, 0.05>] }
      }
      normal { bumps 0.12 scale <0.9, 0.02, 0.03> }
      finish { specular 0.25 roughness 0.04 reflection { 0.02, 0.12 fresnel on } conserve_energy }
    }
    interior { ior 1.4 }
    translate Row * 1.46 * z
  }
  #declare Row = Row + 1;
#end

// A folded cloth in a small check
#declare Weave = function(x, z) { 0.5 + 0.5 * sin(70 * x) * sin(70 * z) }
#declare Cloth = texture {
  pigment {
    checker
    pigment { checker rgb <0.80, 0.77, 0.70> rgb <0.62, 0.22, 0.18> scale 0.16 }
    pigment { checker rgb <0.66, 0.30, 0.25> rgb <0.42, 0.09, 0.08> scale 0.16 }
    scale 0.32
  }
  normal { function { Weave(x, z) } 0.5 }
}
isosurface {
  function { y - 0.06 - 0.05 * sin(1.7 * x + 0.8 * z) * sin(1.3 * z - x) - 0.012 * sin(9 * x + 4 * sin(2 * z)) }
  contained_by { box { <-2.4, -0.2, -1.5>, <2.4, 0.3, 1.3> } }
  max_gradient 3
  texture { Cloth }
  rotate 14 * y
  translate <-1.1, 0.03, -1.6>
}

// Fruit
#macro AnOrange(At, Turn)
  sphere {
    0, 0.62
    pigment { bumps scale 0.3 color_map { [0 rgb <0.78, 0.28, 0.02>] [1 rgb <0.88, 0.38, 0.03>] } }
    normal { bumps 0.3 scale 0.03 }
    finish { specular 0.35 roughness 0.035 }
    scale <1, 0.95, 1> rotate Turn translate At
  }
#end
#macro AnApple(At, Turn)
  union {
    lathe {
      cubic_spline 9,
      <-0.10, 0.90>, <0.00, 0.98>, <0.22, 1.12>, <0.52, 1.02>, <0.66, 0.66>, <0.52, 0.24>, <0.26, 0.02>, <0.00, 0.10>, <-0.1, 0.2>
      pigment {
        gradient y scale 1.2
        pigment_map {
          [0.10 rgb <0.62, 0.55, 0.12>]
          [0.45 radial frequency 34 turbulence 0.05 color_map { [0 rgb <0.62, 0.10, 0.06>] [0.5 rgb <0.70, 0.16, 0.07>] [0.8 rgb <0.75, 0.42, 0.12>] [1 rgb <0.62, 0.10, 0.06>] }]
          [0.85 rgb <0.50, 0.05, 0.05>]
          [1.00 rgb <0.58, 0.45, 0.12>]
        }
      }
      normal { granite 0.04 scale 0.4 }
      finish { specular 0.55 roughness 0.012 reflection { 0.01, 0.15 fresnel on } }
      interior { ior 1.35 }
    }
    cone { <0, 0.9, 0>, 0.022, <0.10, 1.32, 0.05>, 0.036 pigment { rgb <0.20, 0.12, 0.06> } normal { bumps 0.6 scale 0.02 } }
    rotate Turn translate At
  }
#end
AnOrange(<0.05, 0.68, -2.2>, <20, 0, 40>)
AnOrange(<1.15, 0.66, -1.35>, <70, 10, 0>)
AnApple(<-1.45, 0.13, -2.0>, <0, 30, 8>)
AnApple(<2.2, 0.0, -2.1>, <4, 120, -10>)

// Grapes: many small highlights and edges
#declare Index = 0;
#while (Index < 70)
  #declare Along = Index / 70;
  sphere {
    <1.6 * Along - 0.3, 0.17 + 0.30 * (1 - Along) * rand(Lot), (rand(Lot) - 0.5) * (1.1 - 0.8 * Along)>, 0.13 + 0.03 * rand(Lot)
    pigment { bozo scale 0.06 color_map { [0 rgb <0.16, 0.05, 0.14>] [1 rgb <0.26, 0.10, 0.24>] } }
    finish { specular 0.7 roughness 0.01 reflection { 0.01, 0.2 fresnel on } }
    interior { ior 1.35 }
    rotate 25 * y translate <-3.15, 0, -1.7>
  }
  #declare Index = Index + 1;
#end

// A glazed bowl with painted bands
lathe {
  cubic_spline 11,
  <0.4, -0.1>, <0.70, 0.00>, <0.75, 0.10>, <1.15, 0.40>, <1.45, 0.95>, <1.52, 1.25>, <1.44, 1.24>, <1.36, 0.95>, <1.08, 0.48>, <0.00, 0.18>, <-0.4, 0.1>
  pigment {
    gradient y scale 1.3
    pigment_map {
      [0.30 rgb <0.80, 0.80, 0.74>]
      [0.31 radial frequency 48 color_map { [0.5 rgb <0.10, 0.20, 0.42>] [0.5 rgb <0.80, 0.80, 0.74>] }]
      [0.47 radial frequency 48 color_map { [0.5 rgb <0.10, 0.20, 0.42>] [0.5 rgb <0.80, 0.80, 0.74>] }]
      [0.48 rgb <0.80, 0.80, 0.74>]
      [0.62 rgb <0.80, 0.80, 0.74>]
      [0.63 rgb <0.12, 0.23, 0.46>]
      [0.68 rgb <0.12, 0.23, 0.46>]
      [0.69 hexagon rgb <0.80, 0.80, 0.74>, rgb <0.14, 0.26, 0.50>, rgb <0.55, 0.62, 0.70> scale 0.09]
      [0.90 hexagon rgb <0.80, 0.80, 0.74>, rgb <0.14, 0.26, 0.50>, rgb <0.55, 0.62, 0.70> scale 0.09]
      [0.91 rgb <0.80, 0.80, 0.74>]
    }
  }
  finish { specular 0.6 roughness 0.006 reflection { 0.02, 0.25 fresnel on } }
  interior { ior 1.5 }
  translate <0.55, 0, 0.9>
}
AnOrange(<0.2, 1.25, 0.7>, <10, 60, 0>)
AnApple(<0.75, 0.95, 1.0>, <12, 200, -14>)
AnOrange(<1.2, 1.2, 0.45>, <50, 20, 10>)

// A bottle of green glass
merge {
  lathe {
    cubic_spline 12,
    <-0.2, 0.02>, <0.00, 0.02>, <0.52, 0.03>, <0.60, 0.30>, <0.60, 1.60>, <0.56, 2.00>, <0.30, 2.50>, <0.20, 2.80>, <0.19, 3.35>, <0.24, 3.40>, <0.0, 3.45>, <-0.2, 3.45>
  }
  pigment { rgbf <0.20, 0.38, 0.22, 0.55> }
  finish { specular 0.9 roughness 0.003 reflection { 0.03, 0.5 fresnel on } conserve_energy }
  interior { ior 1.5 fade_color rgb <0.05, 0.20, 0.08> fade_distance 0.6 fade_power 1001 }
  translate <-1.5, 0, 0.9>
}
cylinder { // its label
  <-1.5, 0.55, 0.9>, <-1.5, 1.45, 0.9>, 0.612 open
  pigment {
    gradient y scale 0.9 translate 0.55 * y
    pigment_map {
      [0.08 rgb <0.74, 0.66, 0.48>]
      [0.09 rgb <0.40, 0.08, 0.06>]
      [0.14 rgb <0.40, 0.08, 0.06>]
      [0.15 granite scale 0.25 color_map { [0 rgb <0.74, 0.68, 0.52>] [1 rgb <0.82, 0.77, 0.62>] }]
      [1.00 granite scale 0.25 color_map { [0 rgb <0.74, 0.68, 0.52>] [1 rgb <0.82, 0.77, 0.62>] }]
    }
  }
}
object {
  text { ttf "timrom.ttf" "mirl" 0.1, 0 }
  pigment { rgb <0.16, 0.06, 0.05> }
  scale <0.42, 0.42, 1.5> translate <-1.78, 0.85, 0.20>
}

// Books, bound in linen, leaves in sight
#macro Book(From, Size, Turn, Cover, Title)
  union {
    difference {
      box { 0, Size }
      box { <0.05, 0.05, -1>, <Size.x + 1, Size.y - 0.05, Size.z - 0.05> }
      texture { pigment { granite scale 0.3 color_map { [0 Cover * 0.8] [1 Cover * 1.1] } } normal { quilted 0.5 control0 0 control1 0.5 scale 0.018 } }
    }
    box {
      <0.05, 0.05, 0.06>, <Size.x - 0.06, Size.y - 0.05, Size.z - 0.05>
      pigment { gradient y turbulence 0.01 scale 0.022 color_map { [0 rgb <0.60, 0.55, 0.43>] [0.5 rgb <0.80, 0.75, 0.63>] [1 rgb <0.66, 0.60, 0.48>] } }
    }
    object {
      text { ttf "cyrvetic.ttf" Title 0.02, 0 }
      pigment { rgb <0.72, 0.58, 0.26> } finish { specular 0.8 roughness 0.02 }
      scale <0.24, 0.24, 1> translate <0.35, Size.y / 2 - 0.08, -0.012>
    }
    box { <0, 0, -0.01>, <Size.x, Size.y, 0.05> texture { pigment { Cover } normal { quilted 0.5 control0 0 control1 0.5 scale 0.018 } } }
    translate From rotate Turn * y
  }
#end
union {
  Book(<-1.5, 0.00, -1.0>, <3.0, 0.46, 2.0>, 4, rgb <0.16, 0.26, 0.22>, "MULTIPLY AND ADD")
  Book(<-1.4, 0.46, -1.0>, <2.8, 0.36, 1.9>, -5, rgb <0.42, 0.12, 0.10>, "A FIELD GUIDE TO NOISE")
  Book(<-1.3, 0.82, -0.9>, <2.6, 0.50, 1.8>, 8, rgb <0.20, 0.24, 0.40>, "SPARSE MATRICES")
  rotate 3 * y translate <3.45, 0, 1.5>
}
