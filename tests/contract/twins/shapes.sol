// SPDX-License-Identifier: MIT
pragma solidity ^0.8.0;

// The same contract as shapes_twin.py; the test runs both on the same call data.
contract Shapes {
    enum Stage { IDLE, OPEN, CLOSED }
    struct Point { int32 x; int32 y; Stage stage; }
    struct Site { string name; Point place; uint16[5] shares; address[] owners; bool live; }

    event Moved(Point indexed at, uint16[5] indexed shares, address[] indexed owners, Stage stage, Site site);

    bool first;
    Stage stage;
    uint16[5] shares;
    Stage[40] stages;
    uint128[3] wide;
    Site home;
    mapping(uint8 => Site) sites;
    Site[] rest;
    uint64[2][3] grid;
    mapping(address => mapping(uint8 => Point[])) tracks;
    uint8[][] rows;

    function setStage(Stage stage_, uint8 index) external {
        first = true;
        stage = stage_;
        stages[index] = stage_;
    }

    function setShares(uint16[5] memory shares_, uint128 wide_) external {
        shares = shares_;
        wide[1] = wide_;
    }

    function setSite(uint8 key, Site memory site) external {
        sites[key] = site;
        home = site;
        rest.push(site);
        emit Moved(site.place, site.shares, site.owners, site.place.stage, site);
    }

    function move(uint8 key, int32 x, uint16 share, address owner) external {
        sites[key].place.x = x;
        home.shares[2] = share;
        sites[key].owners.push(owner);
        rest[0].live = false;
        rest[0].name = "moved";
        rest[0].place = Point(x, 0, Stage.CLOSED);
    }

    function drop() external {
        rest.pop();
    }

    function track(uint8 key, int32 x) external {
        tracks[msg.sender][key].push(Point(x, 1, Stage.OPEN));
    }

    function putRow(uint8 value) external {
        rows.push();
        rows[rows.length - 1].push(value);
        rows[0].push(value);
    }

    function setGrid(uint8 row, uint8 column, uint64 value) external {
        grid[row][column] = value;
    }

    function getSite(uint8 key) external view returns (Site memory, uint16[5] memory) {
        return (sites[key], shares);
    }

    function hashes(uint8 key, string memory text, uint64[] memory amounts) external view returns (bytes32, bytes32) {
        bytes32 all = keccak256(abi.encode(text, amounts, sites[key]));
        return (all, keccak256(abi.encodePacked(key, text, amounts, stage)));
    }

    function signer(bytes32 digest, uint8 v, bytes32 r, bytes32 s) external pure returns (address) {
        return ecrecover(digest, v, r, s);
    }

    function decoded(bytes memory data) external pure returns (uint64, string memory) {
        return abi.decode(data, (uint64, string));
    }
}
