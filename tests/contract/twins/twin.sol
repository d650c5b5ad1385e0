// SPDX-License-Identifier: MIT
pragma solidity ^0.8.0;

// The same contract as ledger_twin.py; the test runs both on the same call data.
contract Twin {
    struct Reading { uint64 energyWh; int16 delta; uint8 quality; bool valid; address by; }
    struct OptionalUint64 { bool present; uint64 value; }

    event Stored(address indexed meter, uint32 indexed period, Reading reading, string note);
    event Named(string indexed name, bytes4 indexed tag, uint64[] amounts);
    error Refused(address meter, uint32 period, string reason);
    error Nothing();

    uint24 count;
    address owner;
    bool open;
    int16 debt;
    uint256 total;
    string name_;
    bytes kept;
    Reading last;
    mapping(address => mapping(uint32 => Reading)) readings;
    mapping(address => mapping(uint32 => OptionalUint64)) seen;
    mapping(bytes4 => uint256) byTag;
    mapping(string => uint64) byName;
    mapping(int16 => bool) bySign;
    mapping(bool => mapping(bytes32 => uint24[])) deep;
    uint24[] small;
    bool[] flags;
    Reading[] history;
    mapping(uint24 => string) notes;

    constructor(string memory name, bytes4[] memory tags) {
        owner = msg.sender;
        open = true;
        debt = -2;
        name_ = name;
        for (uint256 i = 0; i < tags.length; i++) byTag[tags[i]] = 7;
    }

    function store(uint32 period, Reading memory reading, string memory note) public returns (uint24) {
        if (readings[msg.sender][period].valid) revert Refused(msg.sender, period, note);
        readings[msg.sender][period] = reading;
        seen[msg.sender][period] = OptionalUint64(true, reading.energyWh);
        last = reading;
        history.push(reading);
        count += 1;
        notes[count] = note;
        total += reading.energyWh;
        debt -= reading.delta;
        emit Stored(msg.sender, period, reading, note);
        return count;
    }

    function rename(string memory name, bytes memory data, bytes4 tag, uint64[] memory amounts) public {
        name_ = name;
        kept = data;
        byName[name] = 9;
        byTag[tag] = byTag[tag] + 1;
        for (uint256 i = 0; i < amounts.length; i++) {
            require(amounts[i] < 1 << 15);
            uint24 amount = uint24(amounts[i]);
            small.push(amount);
            flags.push(amount > 100);
            bySign[-int16(int24(amount))] = true;
            deep[amount > 100]["0123456789abcdef0123456789abcdef"].push(amount);
        }
        emit Named(name, tag, amounts);
    }

    function shrink(uint256 index) public returns (uint24, string memory) {
        small[index] = 1000;
        string memory note = notes[count];
        delete notes[count];
        history.pop();
        flags.pop();
        delete seen[msg.sender][1];
        uint24 amount = small[small.length - 1];
        small.pop();
        return (amount, note);
    }

    function close() public payable {
        if (!open) revert Nothing();
        open = false;
    }

    function getAll(uint32 period) public view
        returns (Reading memory, uint24[] memory, string memory, bytes memory, bytes4, int16)
    {
        return (readings[msg.sender][period], small, name_, kept, "abcd", debt);
    }

    function getHistory() public view returns (Reading[] memory) {
        return history;
    }

    function has(uint32 period) public view returns (bool) {
        return seen[msg.sender][period].present;
    }
}
