"""Compiled contracts, kept by code hash and rules version: some ready, many more packed.

Compiling a large source takes as long as a hundred calls, and a transaction pays for it only when
it deploys. So that nobody who calls many contracts in turn makes every node compile them anew, what
was compiled is kept packed, in a twentieth of the memory and time. Nothing here decides anything:
an emptied cache costs time alone.
"""

import marshal
import pickle
import zlib
from collections import OrderedDict

from ledger.contract.compile import CompiledContract, compile_contract
from ledger.contract.made import Made
from ledger.contract.program import Program
from ledger.crypto.keccak import keccak256
from ledger.types import Hash32

READY_BYTES_MAX = 64 << 20
"""Of memory for programs that are ready to run, with what calls made of them: a quarter of what a
worker may take. Past 100 of the largest contracts, whose deployments filled as many blocks, calls
have code unpacked: bounded by the block, or paid, where one contract calls another."""
PACKED_BYTES_MAX = 48 << 20
"""Of packed code: it takes 300 blocks full of deployments to drive others out, which are compiled
anew when they are called."""

_programs: OrderedDict[tuple[Hash32, int], Program] = OrderedDict()
_packed: OrderedDict[tuple[Hash32, int], bytes] = OrderedDict()
_weighed = 0
"""What `Made.count` was when the programs were weighed."""


def load_program(
    source: bytes, code_hash: Hash32 | None, rules_version: int, filename: str = "<contract>"
) -> Program:
    """Compile a source; kept under its code hash, if that is given. Raises ContractRejected.

    `filename` is what tracebacks and debuggers call it.
    """
    compiled = compile_contract(source, filename)
    program = Program(compiled, len(source))
    if code_hash is not None:
        key = code_hash, rules_version
        _keep(key, program)
        _packed[key] = pack(program)
        total = sum([len(each) for each in _packed.values()])
        while total > PACKED_BYTES_MAX:
            total -= len(_packed.popitem(last=False)[1])
    return program


def get_program(code_hash: Hash32, rules_version: int) -> Program | None:
    """The program if it is kept, ready or packed."""
    key = code_hash, rules_version
    if Made.count != _weighed:
        _shed()
    program = _programs.get(key)
    if program is not None:
        _programs.move_to_end(key)
        return program
    packed = _packed.get(key)
    if packed is None:
        return None
    _packed.move_to_end(key)
    program = unpack(packed)
    _keep(key, program)
    return program


def find_program(source: bytes, rules_version: int) -> Program:
    """The program of a source, kept from now on. Raises ContractRejected."""
    code_hash = keccak256(source)
    return get_program(code_hash, rules_version) or load_program(source, code_hash, rules_version)


def _keep(key: tuple[Hash32, int], program: Program) -> None:
    _programs[key] = program
    _shed()


def _shed() -> None:
    """Drop those not used for longest, down to the memory that there is for them."""
    global _weighed
    _weighed = Made.count
    total = sum([each.weigh() for each in _programs.values()])
    while total > READY_BYTES_MAX:
        total -= _programs.popitem(last=False)[1].weigh()


def pack(program: Program) -> bytes:
    """Model and code as bytes for this process alone."""
    code = marshal.dumps(program.compiled.needs)
    kept = program.size, program.selectors, program.compiled.model, code
    return zlib.compress(pickle.dumps(kept, 5), 1)


def unpack(packed: bytes) -> Program:
    size, selectors, model, code = pickle.loads(zlib.decompress(packed))
    return Program(CompiledContract(model, marshal.loads(code)), size, selectors)
