#!/usr/bin/env python3
"""Paint Samples/landscape.jpg: a lake among misty mountains at moonrise, with a boat, birds and a willow.

    pip install pillow numpy
    python3 Scripts/paint_sample.py

Everything is drawn from formulas and one seed, so that the repository's sample is nobody's photograph.
"""
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 1024, 768
SHORE = 492  # the row where land meets water
SCALE = 2  # drawn larger, then reduced, for smooth edges
random = np.random.default_rng(1021)


def noise_line(length, octaves, roughness=0.5):
    """Fractal noise along a line: octaves of (wavelength, amplitude halving by roughness)."""
    x = np.arange(length)
    total = np.zeros(length)
    amplitude = 1.0
    for wavelength in octaves:
        count = int(length / wavelength) + 3
        knots = random.uniform(-1, 1, count)
        place = x / wavelength + random.uniform(0, 1)
        left = place.astype(int)
        t = place - left
        t = t * t * (3 - 2 * t)
        total += amplitude * (knots[left] * (1 - t) + knots[np.minimum(left + 1, count - 1)] * t)
        amplitude *= roughness
    return total


def noise_field(height, width, wavelengths, roughness=0.5):
    """Fractal noise on a plane, 0...1."""
    total = np.zeros((height, width))
    amplitude = 1.0
    for down, across in wavelengths:
        knots = random.uniform(0, 1, (int(height / down) + 3, int(width / across) + 3)).astype(np.float32)
        grown = Image.fromarray(knots).resize(
            (int(knots.shape[1] * across), int(knots.shape[0] * down)), Image.Resampling.BICUBIC)
        total += amplitude * np.asarray(grown)[:height, :width]
        amplitude *= roughness
    return (total - total.min()) / (total.max() - total.min())


def lay(picture, mask, colour):
    """Blend a colour (or a whole picture) over the picture where the mask says."""
    return picture * (1 - mask[..., None]) + np.asarray(colour, float) * mask[..., None]


rows = np.arange(SHORE)[:, None] / SHORE
columns = np.arange(WIDTH)[None, :] / WIDTH

# Sky: slate above, a last warmth over the mountains.
stops = np.array([0.0, 0.35, 0.65, 0.85, 1.0])
colours = np.array([[70, 92, 122], [116, 137, 160], [190, 182, 176], [236, 205, 172], [242, 214, 184]], float)
land = np.stack([np.interp(rows[:, 0], stops, colours[:, c]) for c in range(3)], -1)[:, None, :].repeat(WIDTH, 1)
clouds = noise_field(SHORE, WIDTH, [(60, 420), (26, 170), (11, 70)])
land = lay(land, np.clip((clouds - 0.55) * 1.3, 0, 0.4) * (0.25 + 0.75 * rows), [240, 222, 204])

# Moon, with its glow and its seas.
moon_x, moon_y, moon_r = 305, 132, 43
y, x = np.mgrid[0:SHORE, 0:WIDTH]
distance = np.hypot(x - moon_x, y - moon_y)
land = lay(land, 0.5 * np.exp(-distance / 105), [255, 240, 212])
seas = noise_field(SHORE, WIDTH, [(30, 30), (14, 14)])
disc = np.clip(moon_r - distance + 0.5, 0, 1)
land = lay(land, disc, np.stack([255 - 26 * seas, 248 - 26 * seas, 228 - 24 * seas], -1))

# Mountains from far to near; each darker, each standing in mist.
layers = [
    # base row, height, wavelengths, roughness, colour, mist
    (400, 150, [330, 120, 50, 20, 9], 0.5, [164, 172, 188], 0.85),
    (428, 165, [260, 100, 42, 18, 8], 0.5, [128, 142, 162], 0.85),
    (452, 135, [300, 90, 38, 15, 7], 0.52, [92, 112, 134], 0.80),
    (476, 96, [240, 80, 30, 12, 6], 0.55, [60, 82, 102], 0.72),
]
centres = [640, 800, 560, 900]
for (base, height, waves, roughness, colour, mist), centre in zip(layers, centres):
    ridge = noise_line(WIDTH, waves, roughness)
    ridge = (ridge - ridge.min()) / (ridge.max() - ridge.min())
    swell = 0.34 + 0.66 * np.exp(-(((np.arange(WIDTH) - centre) / 340) ** 2))
    top = base - height * swell * (0.35 + 0.9 * ridge ** 1.3)
    mask = np.clip(y - top[None, :] + 0.5, 0, 1)
    # Slopes: light from the moon's side, and folds that run down.
    folds = noise_field(SHORE, WIDTH, [(90, 34), (40, 15), (18, 7), (7, 4)], 0.62)
    slope = np.clip(-np.gradient(top) * 0.28, -1, 1)[None, :]
    # Mist follows the mass of a mountain, not each notch of its ridge.
    mass = np.convolve(np.pad(top, 100, mode="edge"), np.hanning(201) / np.hanning(201).sum(), mode="valid")
    depth = np.clip((y - 0.85 * mass[None, :] - 0.15 * top.min()) / height, 0, 1.4)
    shade = (1 + (0.2 * (folds - 0.5) + 0.1 * slope) * (1 - 0.5 * depth))[..., None]
    body = np.asarray(colour, float) * shade
    haze = np.clip(depth * 1.15, 0, 1) ** 1.4 * mist
    drift = noise_field(SHORE, WIDTH, [(40, 300), (18, 120)])
    body = lay(body, np.clip(haze * (0.7 + 0.6 * drift), 0, 0.96), [226, 214, 202])
    land = land * (1 - mask[..., None]) + body * mask[..., None]

# The near shore: a low wooded spit on the right.
trees = noise_line(WIDTH, [160, 22, 9, 4], 0.6)
crown = SHORE - 2 - np.clip((np.arange(WIDTH) - 600) / 300, 0, 1) * (26 + 13 * trees)
wood = np.clip(y - crown[None, :] + 0.5, 0, 1)
leaves = noise_field(SHORE, WIDTH, [(7, 8), (4, 4)])
land = land * (1 - wood[..., None]) + (np.array([34, 50, 54]) * (0.7 + 0.7 * leaves[..., None])) * wood[..., None]

# Water: the land upside down, drawn apart by ripples that grow towards us.
depth_rows = np.arange(HEIGHT - SHORE)
source = np.clip(SHORE - 1 - depth_rows * 1.45, 0, SHORE - 1)
ripple = noise_field(HEIGHT - SHORE, WIDTH, [(5, 110), (3, 46), (2, 22)], 0.7) - 0.5
reach = depth_rows[:, None] / (HEIGHT - SHORE)
shift_y = np.clip(source[:, None] + ripple * (8 + 70 * reach), 0, SHORE - 1).astype(int)
shift_x = np.clip(np.arange(WIDTH)[None, :] + ripple * 12 * reach, 0, WIDTH - 1).astype(int)
water = land[shift_y, shift_x]
water = np.asarray(Image.fromarray(water.astype(np.uint8)).filter(ImageFilter.BoxBlur(1)), float)
water = lay(water, np.full(water.shape[:2], 0.34) + 0.22 * reach, [58, 84, 104])
water += (ripple * (16 + 30 * reach))[..., None]
# The moon's path.
row = np.arange(HEIGHT - SHORE)[:, None]
path = np.exp(-((np.arange(WIDTH)[None, :] - moon_x) / (16 + 0.26 * row)) ** 2)
water = lay(water, np.clip(path * np.clip(ripple * 3.4 + 0.30, 0, 1) * 0.9, 0, 0.85), [255, 238, 205])
# Mist on the waterline.
picture = np.concatenate([land, water])
whole_y = np.arange(HEIGHT)[:, None]
veil = noise_field(HEIGHT, WIDTH, [(30, 360), (14, 140)])
picture = lay(picture, np.clip(np.exp(-((whole_y - SHORE + 8) / 17.0) ** 2) * (0.15 + 0.75 * veil), 0, 0.8),
              [226, 214, 202])


def draw_over(picture, paint, blur=0.0):
    """Draw with Pillow at twice the size, on its own layer."""
    layer = Image.new("RGBA", (WIDTH * SCALE, HEIGHT * SCALE), (0, 0, 0, 0))
    paint(ImageDraw.Draw(layer))
    if blur:
        layer = layer.filter(ImageFilter.GaussianBlur(blur * SCALE))
    layer = np.asarray(layer.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS), float)
    alpha = layer[..., 3:] / 255
    # Colours of half covered pixels were mixed with the empty black ground.
    return picture * (1 - alpha) + layer[..., :3] * alpha


def scaled(points):
    return [(px * SCALE, py * SCALE) for px, py in points]


# The boat: a sampan with a mat roof and a man at the scull.
BOAT_X, BOAT_Y = 470, 606


def boat_shapes(flip=1):
    def at(points):
        return scaled([(BOAT_X + px, BOAT_Y + py * flip) for px, py in points])
    hull = [(-86, -15), (-70, -3), (-46, 7), (34, 8), (62, 0), (82, -13), (60, -9), (20, -5), (-40, -5), (-66, -10)]
    roof = [(-34, -5)] + [(-34 + 54 * t, -6 - 22 * np.sin(np.pi * (0.12 + 0.76 * t))) for t in np.linspace(0, 1, 20)]
    roof += [(20, -5)]
    man = [(46, -4), (44, -24), (48, -36), (55, -38), (60, -32), (58, -18), (60, -4)]
    hat = [(40, -40), (53, -51), (66, -39)]
    arm = [(54, -33), (68, -22), (66, -19), (52, -28)]
    scull = [(64, -28), (66, -27), (100, 16), (97, 17)]
    return [at(s) for s in (hull, roof, man, hat, arm, scull)]


def paint_reflection(draw):
    for shape in boat_shapes(-1):
        draw.polygon([(px, py + 14 * SCALE) for px, py in shape], fill=(24, 32, 38, 130))


def paint_boat(draw):
    hull, roof, man, hat, arm, scull = boat_shapes()
    draw.polygon(scull, fill=(40, 34, 30, 255))
    draw.polygon(roof, fill=(86, 70, 52, 255))
    for t in np.linspace(0.1, 0.9, 7):
        px = (BOAT_X - 34 + 54 * t) * SCALE
        py = (BOAT_Y - 6 - 22 * np.sin(np.pi * (0.12 + 0.76 * t))) * SCALE
        draw.line([(px, py), (px, (BOAT_Y - 5) * SCALE)], fill=(60, 48, 36, 255), width=2)
    draw.polygon(man, fill=(44, 48, 56, 255))
    draw.polygon(arm, fill=(50, 54, 62, 255))
    draw.polygon(hat, fill=(150, 120, 82, 255))
    draw.polygon(hull, fill=(46, 34, 27, 255))
    draw.line(hull[6:] + hull[:1], fill=(120, 92, 66, 255), width=3)


picture = draw_over(picture, paint_reflection, blur=2.2)
picture = draw_over(picture, paint_boat)


# Wild geese in a broken line.
def paint_geese(draw):
    for index in range(11):
        arm = index - 4
        px = 492 + 15 * arm + random.uniform(-4, 4)
        py = 206 - (6 * abs(arm) if arm < 0 else -5 * arm) + random.uniform(-3, 3)
        span = 10 - 0.35 * abs(arm)
        lift = random.uniform(2.5, 5)
        left = [(px - span, py - lift), (px - span * 0.4, py - lift * 0.9), (px, py)]
        right = [(px, py), (px + span * 0.4, py - lift * 1.1), (px + span, py - lift * 0.5)]
        draw.line(scaled(left), fill=(50, 58, 72, 235), width=3, joint="curve")
        draw.line(scaled(right), fill=(50, 58, 72, 235), width=3, joint="curve")
        draw.ellipse(scaled([(px - 2.2, py - 1), (px + 2.8, py + 1.4)]), fill=(50, 58, 72, 235))


picture = draw_over(picture, paint_geese)


# A willow on the left bank: trunk, boughs, and long hanging withes with narrow leaves.
def paint_willow(draw):
    bank = [(0, 768), (0, 640)] + [
        (px, 640 + 0.0016 * px * px + 5 * np.sin(px / 13)) for px in range(0, 290, 6)] + [(290, 768)]
    draw.polygon(scaled(bank), fill=(26, 34, 32, 255))
    for _ in range(420):
        px = random.uniform(0, 280)
        py = 640 + 0.0016 * px * px + 5 * np.sin(px / 13) + 2
        draw.line(scaled([(px, py + 6), (px + random.uniform(-5, 6), py - random.uniform(3, 15))]),
                  fill=(int(random.uniform(28, 62)), int(random.uniform(44, 74)), 44, 255), width=2)
    trunk = []
    for t in np.linspace(0, 1, 60):
        trunk.append((70 + 34 * np.sin(t * 4.6 - 0.5) - 44 * t, 662 - 690 * t, 13 * (1 - t) + 7 + 16 * np.exp(-t * 26)))
    for (ax, ay, aw), (bx, by, bw) in zip(trunk, trunk[1:]):
        draw.line(scaled([(ax, ay), (bx, by)]), fill=(34, 30, 28, 255), width=int(2 * aw))
        draw.ellipse(scaled([(bx - bw / 2, by - bw / 2), (bx + bw / 2, by + bw / 2)]), fill=(34, 30, 28, 255))
    starts = []
    for t, length, rise in [(0.55, 120, 74), (0.68, 150, 52), (0.78, 172, 38), (0.88, 150, 26)]:
        ax, ay, _ = trunk[int(t * 59)]
        bough = [(ax + length * u, ay - rise * np.sin(u * np.pi * 0.62)) for u in np.linspace(0, 1, 24)]
        for index, (one, two) in enumerate(zip(bough, bough[1:])):
            draw.line(scaled([one, two]), fill=(38, 34, 30, 255), width=int(2 * (7 - 0.26 * index)))
        starts += [bough[i] for i in random.integers(4, 24, 17)]
    starts += [(random.uniform(-4, 110), random.uniform(-40, 30)) for _ in range(26)]
    for sx, sy in starts:
        length = random.uniform(110, 300)
        sway = random.uniform(8, 34)
        tone = random.uniform(0.75, 1.25)
        withe = [(sx + sway * u ** 1.6, sy + length * u) for u in np.linspace(0, 1, 44)]
        draw.line(scaled(withe), fill=(int(58 * tone), int(72 * tone), int(46 * tone), 255), width=2)
        for px, py in withe[2:]:
            for side in (-1, 1):
                if random.uniform() < 0.62:
                    reach_x, reach_y = side * random.uniform(2, 5), random.uniform(7, 13)
                    leaf = [(px, py), (px + reach_x + 1.2, py + reach_y * 0.5), (px + reach_x, py + reach_y),
                            (px + reach_x - 1.2, py + reach_y * 0.5)]
                    draw.polygon(scaled(leaf), fill=(int(66 * tone), int(92 * tone), int(50 * tone), 255))


picture = draw_over(picture, paint_willow)

# Grain and a darker rim, as a lens and paper give.
vignette = 1 - 0.16 * (((np.arange(WIDTH)[None, :] / WIDTH - 0.5) * 2) ** 2 * ((whole_y / HEIGHT - 0.5) * 2) ** 2)
picture = picture * vignette[..., None] + random.normal(0, 1.6, (HEIGHT, WIDTH, 1))
image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
target = Path(__file__).resolve().parent.parent / "Samples" / "landscape.jpg"
target.parent.mkdir(exist_ok=True)
image.save(target, quality=88, optimize=True)
print(target.stat().st_size, "bytes")
assert target.stat().st_size < 200_000
