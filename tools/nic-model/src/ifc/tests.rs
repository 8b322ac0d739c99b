// SPDX-License-Identifier: GPL-2.0 OR MIT

use super::*;

const HEADER: &str = "
enum { A = 0x3, B, C = 1 << 4, D = BIT_ULL(A - 1) | 1, };
struct mlx5_ifc_inner_bits { u8 hi[0x4]; u8 lo[0x1c]; };
struct mlx5_ifc_outer_bits {
	u8 first[0x10];
	u8 reserved_at_10[0x10];
	struct mlx5_ifc_inner_bits inner[2];
	union { u8 word[0x20]; struct { u8 left[0x10]; u8 right[0x10]; }; };
	struct { u8 x[0x20]; } named;
	u8 mac[6][0x8];
	u8 pad[0x10];
	u8 pas[][0x40];
};
struct mlx5_ifc_flexible_bits {
	u8 n[0x20];
	union { DECLARE_FLEX_ARRAY(struct mlx5_ifc_inner_bits, ins); DECLARE_FLEX_ARRAY(struct mlx5_ifc_outer_bits, outs); };
};";

fn at(ifc: &Ifc, path: &str) -> (u64, u64) {
    let f = ifc.field(path).unwrap();
    (f.offset, f.bits)
}

#[test]
fn every_form_of_member() {
    let ifc = Ifc::parse(HEADER).unwrap();
    assert_eq!(at(&ifc, "outer.first"), (0, 16));
    assert_eq!(at(&ifc, "outer.inner.lo"), (36, 28));
    assert_eq!(ifc.field("outer.inner").unwrap().nth(1).offset, 64);
    assert_eq!(at(&ifc, "outer.word"), (96, 32));
    assert_eq!(at(&ifc, "outer.right"), (112, 16));
    assert_eq!(at(&ifc, "outer.named.x"), (128, 32));
    assert_eq!(ifc.field("outer.mac").unwrap().nth(5), Field { offset: 200, bits: 8 });
    assert_eq!(at(&ifc, "outer.pas"), (224, 64));
    assert_eq!(at(&ifc, "flexible.ins.lo"), (36, 28));
    assert_eq!(ifc.size_of("outer").unwrap(), 28);
}

#[test]
fn constants_and_expressions() {
    let ifc = Ifc::parse(HEADER).unwrap();
    let values: Vec<_> = ["A", "B", "C", "D"].iter().map(|n| ifc.constant(n)).collect();
    assert_eq!(values, [Some(3), Some(4), Some(16), Some(5)]);
}

#[test]
fn unknown_and_short() {
    let ifc = Ifc::parse(HEADER).unwrap();
    assert!(matches!(ifc.field("outer.nothing"), Err(FieldError::Unknown(_))));
    assert!(matches!(ifc.field("outer"), Err(FieldError::Unknown(_))));
    assert!(matches!(ifc.field("outer.first.x"), Err(FieldError::Unknown(_))));
    assert!(matches!(ifc.get(&[0; 1], "outer.first"), Err(FieldError::Outside(_))));
}

#[test]
fn nonsense_is_refused() {
    for text in [
        "struct mlx5_ifc_a_bits { u8 x; };",
        "struct mlx5_ifc_a_bits { u8 x[0x10] };",
        "struct mlx5_ifc_a_bits { struct mlx5_ifc_unknown_bits x; };",
        "struct mlx5_ifc_a_bits { u8 x[0xffffffff]; };",
        "struct mlx5_ifc_a_bits {",
        "enum { A = UNKNOWN };",
        "int x;",
    ] {
        assert!(Ifc::parse(text).is_err(), "{text}");
    }
    let deep = "struct mlx5_ifc_a_bits ".to_owned() + &"{ struct ".repeat(100);
    assert!(Ifc::parse(&deep).is_err());
}

/// The real header, against what the driver's own code and the design measured.
#[test]
fn the_kernels_header() {
    let Some(folder) = crate::default_ifc_folder() else {
        panic!("no kernel source in the cache: run 'make setup' (or set MLX5_IFC)");
    };
    let ifc = Ifc::load(&folder).unwrap();
    assert_eq!(ifc.constant("MLX5_CMD_OP_QUERY_HCA_CAP"), Some(0x100));
    assert_eq!(ifc.constant("MLX5_CMD_OP_CREATE_EQ"), Some(0x301));
    assert_eq!(ifc.size_of("hca_cap_union").unwrap(), 0x1000);
    assert_eq!(ifc.size_of("fte_match_param").unwrap(), 0x200);
    assert_eq!(ifc.size_of("tls_static_params").unwrap(), 64);
    assert_eq!(ifc.field("create_eq_in.pas").unwrap().byte_offset(), 0x110);
    assert_eq!(at(&ifc, "manage_pages_in.input_num_entries"), (0x60, 32));
    assert_eq!(
        ifc.field("query_nic_vport_context_out.nic_vport_context.permanent_address").unwrap().bits,
        64
    );
    // No field of the kernel's structures lies outside them.
    for (name, layout) in &ifc.layouts {
        for (member, m) in &layout.members {
            assert!(m.offset + m.total_bits() <= layout.bits, "{name}.{member}");
        }
    }
    assert!(ifc.layouts.len() > 700, "{}", ifc.layouts.len());
}
