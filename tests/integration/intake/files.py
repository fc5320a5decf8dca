"""Small files of the kinds that are taken, and of some that are not."""

from __future__ import annotations

import os

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + bytes(200) + b"\xff\xd9"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(200)
PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n" + bytes(200)
TAKEN = {
    "image/jpeg": JPEG,
    "image/png": PNG,
    "image/webp": b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(100),
    "image/heic": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100),
    "application/pdf": PDF,
    "video/mp4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(100),
    "video/quicktime": b"\x00\x00\x00\x14ftypqt  \x00\x00\x02\x00qt  " + bytes(100),
    "video/3gpp": b"\x00\x00\x00\x18ftyp3gp4\x00\x00\x00\x003gp4" + bytes(100),
    "audio/mpeg": b"ID3\x03\x00\x00\x00\x00\x00\x21" + bytes(100),
    "audio/mp4": b"\x00\x00\x00\x18ftypM4A \x00\x00\x00\x00M4A mp42" + bytes(100),
    "audio/amr": b"#!AMR\n" + bytes(100),
    "audio/wav": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(100),
}
REFUSED = {
    "text": "楼下路灯不亮".encode(),
    "html": b"<!DOCTYPE html><script>alert(1)</script>",
    "html before a PDF": b"<html>%PDF-1.4" + bytes(100),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    "program": b"MZ\x90\x00" + bytes(200),
    "zip": b"PK\x03\x04\x14\x00" + bytes(200),
    "gif": b"GIF89a/*" + bytes(100),
    "noise": bytes([7]) * 500,
}


def photo(size: int = 300) -> bytes:
    """A photo like no other."""
    return JPEG[:20] + os.urandom(size)
