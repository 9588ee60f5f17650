//! A QR code in the terminal, two modules a character.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use zeroize::Zeroizing;

use crate::text::Paint;

/// Draws `text` with the quiet zone that scanners need (ISO/IEC 18004 asks for four modules).
/// Nothing if it does not fit into a QR code.
///
/// With colours it is black on white whatever the terminal's own are: 16 and 231 belong to the
/// colour cube, which themes leave alone. Without, it is right on a dark terminal, and inverted on
/// a light one, which most scanners read as well.
pub(crate) fn draw(text: &str, paint: Paint) -> Option<Zeroizing<String>> {
    // Level L makes the smallest picture; a screen is neither torn nor dirty.
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let (dark, light) = match paint.on {
        true => (Dense1x2::Dark, Dense1x2::Light),
        false => (Dense1x2::Light, Dense1x2::Dark),
    };
    let image = Zeroizing::new(
        code.render::<Dense1x2>()
            .dark_color(dark)
            .light_color(light)
            .quiet_zone(true)
            .build(),
    );
    let mut drawn = Zeroizing::new(String::with_capacity(image.len() * 2));
    for line in image.lines() {
        match paint.on {
            true => drawn.extend(["\x1b[38;5;16;48;5;231m", line, "\x1b[0m\n"]),
            false => drawn.extend([line, "\n"]),
        }
    }
    Some(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str = "otpauth://totp/pam_jit:alice%40web1?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=pam_jit";

    #[test]
    fn it_fits_a_terminal_and_has_its_quiet_zone() {
        let drawn = draw(URI, Paint { on: false }).unwrap();
        let lines: Vec<&str> = drawn.lines().collect();
        let width = lines[0].chars().count();
        assert!(
            width <= 80 && lines.len() <= 32,
            "{width} x {}",
            lines.len()
        );
        // Four light modules all around: two lines above, four columns at the left.
        assert!(lines[..2].iter().all(|l| l.chars().all(|c| c == '█')));
        assert!(lines.iter().all(|l| l.chars().count() == width));
        assert!(
            lines[..lines.len() - 1]
                .iter()
                .all(|l| l.starts_with("████"))
        );
    }

    #[test]
    fn in_colour_it_is_black_on_white() {
        let drawn = draw(URI, Paint { on: true }).unwrap();
        for line in drawn.lines() {
            assert!(line.starts_with("\x1b[38;5;16;48;5;231m    ") && line.ends_with("\x1b[0m"));
        }
    }

    #[test]
    fn too_much_text_is_no_picture_and_no_panic() {
        assert!(draw(&"x".repeat(10_000), Paint { on: true }).is_none());
    }
}
