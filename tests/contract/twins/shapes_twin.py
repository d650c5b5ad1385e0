"""The same contract as shapes.sol; the test runs both on the same call data."""

from ledger.contract import (
    Array,
    Contract,
    Enum,
    Event,
    Fixed,
    Map,
    Struct,
    abi_decode,
    abi_encode,
    abi_encode_packed,
    address,
    bytes32,
    ecrecover,
    indexed,
    int32,
    keccak256,
    string,
    uint8,
    uint16,
    uint64,
    uint128,
    view,
    write,
)


class Stage(Enum):
    IDLE = 0
    OPEN = 1
    CLOSED = 2


class Point(Struct):
    x: int32
    y: int32
    stage: Stage


class Site(Struct):
    name: string
    place: Point
    shares: Fixed[list[uint16], 5]
    owners: list[address]
    live: bool


class Moved(Event):
    at: indexed[Point]
    shares: indexed[Fixed[list[uint16], 5]]
    owners: indexed[list[address]]
    stage: Stage
    site: Site


class Shapes(Contract):
    first: bool
    stage: Stage
    shares: Fixed[list[uint16], 5]
    stages: Fixed[list[Stage], 40]
    wide: Fixed[list[uint128], 3]
    home: Site
    sites: Map[uint8, Site]
    rest: Array[Site]
    grid: Fixed[list[Fixed[list[uint64], 2]], 3]
    tracks: Map[address, Map[uint8, Array[Point]]]
    rows: Array[Array[uint8]]

    @write
    def set_stage(self, stage_: Stage, index: uint8) -> None:
        self.first = True
        self.stage = stage_
        self.stages[index] = stage_

    @write
    def set_shares(self, shares_: Fixed[list[uint16], 5], wide_: uint128) -> None:
        self.shares = shares_
        self.wide[1] = wide_

    @write
    def set_site(self, key: uint8, site: Site) -> None:
        self.sites[key] = site
        self.home = site
        self.rest.append(site)
        self.emit(Moved(site.place, site.shares, site.owners, site.place.stage, site))

    @write
    def move(self, key: uint8, x: int32, share: uint16, owner: address) -> None:
        self.sites[key].place.x = x
        self.home.shares[2] = share
        self.sites[key].owners.append(owner)
        self.rest[0].live = False
        self.rest[0].name = "moved"
        self.rest[0].place = Point(x, 0, Stage.CLOSED)

    @write
    def drop(self) -> None:
        self.rest.pop()

    @write
    def track(self, key: uint8, x: int32) -> None:
        self.tracks[self.msg.sender][key].append(Point(x, 1, Stage.OPEN))

    @write
    def put_row(self, value: uint8) -> None:
        self.rows.append()
        self.rows[len(self.rows) - 1].append(value)
        self.rows[0].append(value)

    @write
    def set_grid(self, row: uint8, column: uint8, value: uint64) -> None:
        self.grid[row][column] = value

    @view
    def get_site(self, key: uint8) -> tuple[Site, Fixed[list[uint16], 5]]:
        return self.sites[key], list(self.shares)

    @view
    def hashes(self, key: uint8, text: string, amounts: list[uint64]) -> tuple[bytes32, bytes32]:
        whole = keccak256(abi_encode(text, amounts, self.sites[key]))
        return whole, keccak256(abi_encode_packed(key, text, amounts, self.stage))

    @view
    def signer(self, digest: bytes32, v: uint8, r: bytes32, s: bytes32) -> address:
        return ecrecover(digest, v, r, s)

    @view
    def decoded(self, data: bytes) -> tuple[uint64, string]:
        return abi_decode(data, uint64, string)
