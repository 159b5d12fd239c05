#!/usr/bin/env python3
"""Write Tests/Fixtures/Pictures: small pictures in every format, and what Pillow makes of them when it resizes them.

    pip install pillow==13.0.0 pillow-heif numpy
    python3 Scripts/make_picture_fixtures.py

Everything is drawn here from formulas. `NAME.WxH.png` is Pillow's bicubic resize of `NAME.png`, `NAME.WxH.bilinear.png` its bilinear one, `NAME.crop-S.png` the
short-side resize and centre crop of torchvision written out over Pillow.
"""
import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageDraw, ImageFilter

out = Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "Pictures"
out.mkdir(parents=True, exist_ok=True)
for old in out.iterdir():
    old.unlink()
random = np.random.default_rng(20)


def save(image, name, **options):
    image.save(out / name, **options)
    return image


# Resize: smooth, rough, and hard-edged pictures, up and down, odd sizes.
y, x = np.mgrid[0:61, 0:97]
gradient = np.stack([x * 255 / 96, y * 255 / 60, (x + y) % 256], -1).astype(np.uint8)
noise = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
strokes = Image.new("RGB", (120, 90), "white")
draw = ImageDraw.Draw(strokes)
for step in range(0, 120, 7):
    draw.line([(step, 0), (119 - step, 89)], fill=(step * 2, 0, 0), width=1 + step % 3)
draw.rectangle([30, 20, 80, 70], outline=(0, 0, 0), width=2)
draw.ellipse([40, 30, 70, 60], fill=(178, 34, 34))
scene = Image.fromarray(random.integers(0, 256, (133, 200, 3), dtype=np.uint8))
scene = scene.filter(ImageFilter.GaussianBlur(4)).point(lambda v: max(0, min(255, (v - 128) * 5 + 128)))

resizes = {
    "gradient": (Image.fromarray(gradient), [(224, 224), (32, 32), (97, 10), (13, 61), (1, 1)]),
    "noise": (Image.fromarray(noise), [(32, 32), (31, 17), (65, 47), (64, 12)]),
    "strokes": (strokes, [(224, 224), (56, 56), (119, 91), (7, 200)]),
    "scene": (scene, [(96, 96), (224, 224), (50, 133)]),
}
for name, (image, sizes) in resizes.items():
    save(image, f"{name}.png", optimize=True)
    for size in sizes:
        save(image.resize(size, Image.Resampling.BICUBIC), f"{name}.{size[0]}x{size[1]}.png", optimize=True)
for name, size in [("noise", (31, 17)), ("strokes", (56, 56)), ("scene", (96, 96)), ("gradient", (97, 10))]:
    image = resizes[name][0].resize(size, Image.Resampling.BILINEAR)
    save(image, f"{name}.{size[0]}x{size[1]}.bilinear.png", optimize=True)


def crop(image, size):
    width, height = image.size
    long = int(size * max(width, height) / min(width, height))
    scaled = image.resize((size, long) if height > width else (long, size), Image.Resampling.BICUBIC)
    left, top = int(round((scaled.width - size) / 2)), int(round((scaled.height - size) / 2))
    return scaled.crop((left, top, left + size, top + size))


for name, size in [("scene", 64), ("gradient", 32), ("strokes", 75)]:
    save(crop(resizes[name][0], size), f"{name}.crop-{size}.png", optimize=True)
tall = save(resizes["scene"][0].transpose(Image.Transpose.ROTATE_90), "tall.png", optimize=True)
save(crop(tall, 45), "tall.crop-45.png", optimize=True)

# Formats: four flat quarters, so that lossy formats keep their colours: red, green / blue, yellow.
quarters = Image.new("RGB", (48, 32))
draw = ImageDraw.Draw(quarters)
for box, colour in [
    ((0, 0, 23, 15), (200, 30, 30)), ((24, 0, 47, 15), (30, 160, 60)),
    ((0, 16, 23, 31), (40, 60, 190)), ((24, 16, 47, 31), (230, 210, 70)),
]:
    draw.rectangle(box, fill=colour)
save(quarters, "quarters.png")
save(quarters, "quarters.jpg", quality=95, subsampling=0)
save(quarters, "progressive.jpg", quality=95, subsampling=0, progressive=True)
save(quarters, "quarters.webp", lossless=True)
save(quarters, "quarters.tif", compression="tiff_lzw")
save(quarters, "quarters.bmp")
save(quarters, "quarters.avif", quality=95, subsampling="4:4:4")
save(quarters.quantize(8, dither=Image.Dither.NONE), "palette.png")
save(quarters, "frames.gif", save_all=True, append_images=[Image.new("RGB", quarters.size, "black")], duration=100)
save(quarters.convert("L"), "grey.png")
save(quarters.convert("CMYK"), "cmyk.jpg", quality=95)

# Orientation: the stored picture is turned so that the upright one is `quarters`.
undo = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE",
        8: "ROTATE_270"}
for orientation, turn in undo.items():
    exif = Image.Exif()
    exif[274] = orientation
    stored = quarters.transpose(getattr(Image.Transpose, turn))
    save(stored, f"orientation-{orientation}.jpg", quality=95, subsampling=0, exif=exif)

# Alpha: left half opaque, right half at 50 %.
alpha = Image.new("L", quarters.size, 255)
alpha.paste(128, (24, 0, 48, 32))
clear = quarters.copy()
clear.putalpha(alpha)
save(clear, "alpha.png")
save(clear, "alpha.webp", lossless=True)
white = Image.new("RGB", quarters.size, "white")
white.paste(quarters, mask=alpha)
save(white, "alpha-on-white.png")
grey_alpha = Image.merge("LA", [quarters.convert("L"), alpha])
save(grey_alpha, "grey-alpha.png")
palette = quarters.quantize(8, dither=Image.Dither.NONE)
save(palette, "palette-alpha.png", transparency=palette.getpixel((0, 0)))

# A colour profile: its presence must not change the pixels.
profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
save(quarters, "profile.png", icc_profile=profile)


# Pillow writes no 16-bit colour and no broken headers.
def png(width, height, depth, colour, rows):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def deep(values, colour):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(values.shape[1], values.shape[0], 16, colour, rows)


wide = np.asarray(quarters).astype(np.uint16) * 256 + 37
(out / "rgb16.png").write_bytes(deep(wide, 2))
(out / "grey16.png").write_bytes(deep(np.asarray(quarters.convert("L")).astype(np.uint16) * 256 + 37, 0))
wide_alpha = np.dstack([wide, np.asarray(alpha).astype(np.uint16) * 257])
(out / "rgba16.png").write_bytes(deep(wide_alpha, 6))
(out / "huge.png").write_bytes(png(30000, 30000, 8, 2, b"\0" * 1000))
(out / "zero.png").write_bytes(png(0, 0, 8, 2, b""))
# A bomb: 81 megapixels in a few kilobytes.
(out / "bomb.png").write_bytes(png(9000, 9000, 1, 0, b"\0" * (9000 * (1 + 1125))))

try:
    import pillow_heif
    pillow_heif.register_heif_opener()
    save(quarters, "quarters.heic", quality=95, chroma=444)
except ImportError:
    print("no pillow_heif: quarters.heic is not written")

for path in sorted(out.iterdir()):
    assert path.stat().st_size < 100_000, path
print(len(list(out.iterdir())), "files,", sum(p.stat().st_size for p in out.iterdir()), "bytes")
