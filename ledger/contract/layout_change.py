"""Whether a contract's new source reads the storage that its old one wrote, field by field.

What belongs here: the comparison of two layouts, in words that an author acts on. Who may replace
a source, and how, is `upgrade`. Every field keeps its name, place and type; new ones follow
the last. A struct that is the value of a map may grow at its end, for nothing stands behind it; an
enum may gain members. Names are compared without leading and trailing underscores, which nobody
outside sees.
"""

from collections.abc import Sequence

from ledger.contract.layout import get_value_size, name_value_type, place_members
from ledger.contract.model import ContractModel
from ledger.contract.types import (
    ADDRESS,
    BOOL,
    ArrayType,
    BytesType,
    EnumType,
    FixedListType,
    ListType,
    MapType,
    OptionalType,
    RoleType,
    StorageType,
    StringType,
    StructType,
)


def layout_difference(old: ContractModel, new: ContractModel) -> list[str]:
    """What of the old layout the new source would misread, a sentence each; empty where nothing."""
    fields_old = [(each.name.strip("_"), each.type) for each in old.fields]
    fields_new = [(each.name.strip("_"), each.type) for each in new.fields]
    return _compare_members(fields_old, fields_new, "", grows=True)


def _compare_members(
    old: Sequence[tuple[str, StorageType]],
    new: Sequence[tuple[str, StorageType]],
    path: str,
    *,
    grows: bool,
) -> list[str]:
    """The members of a contract or struct; `path` is what to write before their names."""
    found = []
    places = dict(zip([name for name, _ in new], _spell_places(new), strict=True))
    types = dict(new)
    for (name, type), place in zip(old, _spell_places(old), strict=True):
        if name not in types:
            found.append(f"{path}{name} ({name_storage_type(type)}, {place}) is gone: keep it")
        elif places[name] != place:
            found.append(f"{path}{name} moved from {place} to {places[name]}")
        else:
            found += _compare_types(type, types[name], path + name, grows=False)
    known = {name for name, _ in old}
    for index, (name, _) in enumerate(new):
        if name not in known and index < len(old):
            found.append(f"{path}{name} is new: declare it after {path}{old[-1][0]}")
        elif name not in known and not grows:
            found.append(f"{path}{name} is new: this struct cannot grow, other fields follow it")
    return found


def _spell_places(members: Sequence[tuple[str, StorageType]]) -> list[str]:
    places, _ = place_members(type for _, type in members)
    return [f"slot {slot} byte {offset}" for slot, offset in places]


def _compare_types(old: StorageType, new: StorageType, path: str, *, grows: bool) -> list[str]:
    match _plain(old), _plain(new):
        case MapType(keys=keys_old, value=value_old), MapType(keys=keys_new, value=value_new):
            if keys_old == keys_new:
                return _compare_types(value_old, value_new, f"{path}[]", grows=True)
        case OptionalType(value=value_old), OptionalType(value=value_new):
            return _compare_types(value_old, value_new, path, grows=grows)
        case ArrayType(element=value_old), ArrayType(element=value_new):
            return _compare_types(value_old, value_new, f"{path}[]", grows=False)
        case FixedListType(value_old, size_old), FixedListType(value_new, size_new):
            if size_old == size_new:
                return _compare_types(value_old, value_new, f"{path}[]", grows=False)
        case StructType(fields=fields_old), StructType(fields=fields_new):
            return _compare_members(fields_old, fields_new, f"{path}.", grows=grows)
        case EnumType(members=members_old), EnumType(members=members_new):
            if members_new[: len(members_old)] == members_old:
                return []
            names = ", ".join(members_old)
            return [f"{path} is an enum whose members must begin with {names}"]
        case plain_old, plain_new if plain_old == plain_new:
            return []
    return [f"{path} was {name_storage_type(old)} and would be {name_storage_type(new)}"]


def _plain(type: StorageType) -> StorageType:
    """Types that stand alike in storage as one: roles as maps, keys one by one, lists as arrays."""
    match type:
        case RoleType():
            return MapType((ADDRESS,), BOOL)
        case MapType(keys=(first, *rest), value=value) if rest:
            return MapType((first,), MapType(tuple(rest), value))
        case ListType():
            return ArrayType(type.element)
    return type


def name_storage_type(type: StorageType) -> str:
    """A type as its author wrote it."""
    match type:
        case MapType():
            keys = ", ".join([name_storage_type(key) for key in type.keys])
            inner = keys if len(type.keys) == 1 else f"tuple[{keys}]"
            return f"Map[{inner}, {name_storage_type(type.value)}]"
        case OptionalType():
            return f"Optional[{name_storage_type(type.value)}]"
        case ArrayType():
            return f"Array[{name_storage_type(type.element)}]"
        case ListType():
            return f"list[{name_storage_type(type.element)}]"
        case FixedListType():
            return f"Fixed[list[{name_storage_type(type.element)}], {type.size}]"
        case StructType() | EnumType():
            return type.name
        case RoleType():
            return "Role"
        case StringType() | BytesType():
            return "string" if isinstance(type, StringType) else "bytes"
    assert get_value_size(type), f"{type} is no storage type"
    return name_value_type(type)
