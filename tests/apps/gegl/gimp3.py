"""mirl:restore as a layer effect in GIMP 3, run by gegl_gimp3 with python-fu-eval.

In MIRL_TEST_FOLDER lie in.png, what `mirl restore` makes of it (restored.png), and the same for the
rectangle SELECTION of it (part.png). Says "gimp: passed" at the end if every check held.
"""

import os
import sys

import gi

gi.require_version("Gimp", "3.0")
gi.require_version("Gegl", "0.4")
from gi.repository import Gegl, Gimp, Gio  # noqa: E402

FOLDER = os.environ["MIRL_TEST_FOLDER"]
SELECTION = [int(number) for number in os.environ["MIRL_TEST_SELECTION"].split()]  # x, y, width, height


def file(name):
    return Gio.File.new_for_path(os.path.join(FOLDER, name))


def pixels(drawable):
    """Rows of 8 bit R'G'B' bytes."""
    width, height = drawable.get_width(), drawable.get_height()
    area = Gegl.Rectangle.new(0, 0, width, height)
    data = drawable.get_buffer().get(area, 1.0, "R'G'B' u8", Gegl.AbyssPolicy.NONE)
    return [bytes(data[y * width * 3 : (y + 1) * width * 3]) for y in range(height)]


def load(name):
    image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, file(name))
    rows = pixels(image.get_layers()[0])
    image.delete()
    return rows


def seen(image):
    """What the user sees: the image with all effects. Hiding an effect does not redraw by itself."""
    for layer in image.get_layers():
        layer.update(0, 0, layer.get_width(), layer.get_height())
    layer = Gimp.Layer.new_from_visible(image, image, "seen")
    rows = pixels(layer)
    layer.delete()
    return rows


def invert(rows):
    return [bytes(255 - value for value in row) for row in rows]


def check(what, got, expected, tolerance=1):
    largest = max(abs(a - b) for x, y in zip(got, expected) for a, b in zip(x, y))
    print("gimp: %s: largest difference %d" % (what, largest))
    if len(got) != len(expected) or largest > tolerance:
        raise AssertionError(what)


def restoring(layer):
    effect = Gimp.DrawableFilter.new(layer, "mirl:restore", "")
    config = effect.get_config()
    config.set_property("weights", "default")
    config.set_property("strength", 0.75)
    effect.update()
    return effect


def inverting(layer):
    return Gimp.DrawableFilter.new(layer, "gegl:invert-gamma", "")


def inside(rows, part):
    """`rows` with `part` in the place of SELECTION."""
    x, y, width, height = SELECTION
    rows = list(rows)
    for i in range(height):
        rows[y + i] = rows[y + i][: x * 3] + part[i] + rows[y + i][(x + width) * 3 :]
    return rows


def saved_and_opened(image):
    Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, image, file("saved.xcf"), None)
    image.delete()
    image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, file("saved.xcf"))
    return image, image.get_layers()[0]


def main():
    original, restored, part = load("in.png"), load("restored.png"), load("part.png")
    image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, file("in.png"))
    layer = image.get_layers()[0]

    check("before", seen(image), original, 0)
    effect = restoring(layer)
    layer.append_filter(effect)
    check("on", seen(image), restored)
    effect.set_visible(False)
    check("off", seen(image), original, 0)
    effect.set_visible(True)
    check("on again", seen(image), restored)
    assert pixels(layer) == original, "the layer's own pixels must stay"

    # Effects appended later work on the result of earlier ones; taken off and appended again, the other way.
    other = inverting(layer)
    layer.append_filter(other)
    check("then inverted", seen(image), invert(restored))
    effect.delete()
    effect = restoring(layer)
    layer.append_filter(effect)
    order = [item.get_operation_name() for item in layer.get_filters()]
    assert sorted(order) == ["gegl:invert-gamma", "mirl:restore"], order
    check("first inverted", seen(image), load("inverted.png"))
    other.delete()
    effect.delete()
    check("taken off", seen(image), original, 0)

    layer.append_filter(restoring(layer))
    image, layer = saved_and_opened(image)
    check("opened again", seen(image), restored)
    (effect,) = layer.get_filters()
    config = effect.get_config()
    assert effect.get_operation_name() == "mirl:restore"
    assert config.get_property("weights") == "default", config.get_property("weights")
    assert abs(config.get_property("strength") - 0.75) < 1e-6, config.get_property("strength")
    assert pixels(layer) == original, "the layer's own pixels must be in the file"
    effect.delete()

    # With a selection, GIMP hands the operation the selection's bounds.
    x, y, width, height = SELECTION
    image.select_rectangle(Gimp.ChannelOps.REPLACE, x, y, width, height)
    layer.append_filter(restoring(layer))
    check("selection", seen(image), inside(original, part))
    Gimp.Selection.none(image)
    check("selection dropped", seen(image), inside(original, part))

    # GIMP 3.0 keeps the selection in the file, but hands the operation the whole layer from then on.
    whole = inside(original, [row[x * 3 : (x + width) * 3] for row in restored[y : y + height]])
    image, layer = saved_and_opened(image)
    check("selection opened again", seen(image), whole)

    layer.merge_filters()
    check("merged", pixels(layer), whole)
    print("gimp: passed")
    sys.stdout.flush()


main()
