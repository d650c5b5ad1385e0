// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// The twin of contracts_py/el_dapp.py, with the same storage, events and errors, so that both sides
/// of a comparison do the same work.
contract Provider {
    event UserAdded(address indexed user);
    event UserRemoved(address indexed user);
    event UsageSet(address indexed user, uint256 usage);
    event BillSet(address indexed user, uint256 bill);
    event DebtSet(address indexed user, uint256 usage, uint256 bill);

    error NotActive(address user);
    error NotProvider(address caller);

    struct Account {
        uint256 usage;
        uint256 bill;
        uint64 lastUpdate;
        bool active;
    }

    string public providerName;
    string public description;
    address public owner;
    mapping(address => Account) private accounts;
    mapping(address => mapping(uint32 => uint256)) public dailyUsage;

    constructor(string memory name, string memory text) {
        providerName = name;
        description = text;
        owner = msg.sender;
    }

    function isActive(address user) external view returns (bool) { return accounts[user].active; }

    function lastUpdate(address user) external view returns (uint256) { return accounts[user].lastUpdate; }

    function getUsage(address user) external view returns (uint256) { return accounts[user].usage; }

    function getBill(address user) external view returns (uint256) { return accounts[user].bill; }

    function addUser(address user) external {
        if (msg.sender != owner) revert NotProvider(msg.sender);
        accounts[user].active = true;
        emit UserAdded(user);
    }

    function removeUser(address user) external {
        if (msg.sender != owner) revert NotProvider(msg.sender);
        accounts[user].active = false;
        emit UserRemoved(user);
    }

    function setUsage(uint256 usage) external {
        Account memory account = accounts[msg.sender];
        if (!account.active) revert NotActive(msg.sender);
        _store(msg.sender, account, usage, account.bill);
        emit UsageSet(msg.sender, usage);
    }

    function setBill(uint256 bill) external {
        Account memory account = accounts[msg.sender];
        if (!account.active) revert NotActive(msg.sender);
        _store(msg.sender, account, account.usage, bill);
        emit BillSet(msg.sender, bill);
    }

    function setDebt(uint256 usage, uint256 bill, address user) external {
        Account memory account = accounts[user];
        if (msg.sender != owner) {
            if (msg.sender != user) revert NotProvider(msg.sender);
            if (!account.active) revert NotActive(user);
        }
        _store(user, account, usage, bill);
        emit DebtSet(user, usage, bill);
    }

    function _store(address user, Account memory account, uint256 usage, uint256 bill) private {
        accounts[user] = Account(usage, bill, uint64(block.timestamp), account.active);
        if (usage > account.usage) {
            uint32 day = uint32((block.timestamp + 19800) / 86400);
            dailyUsage[user][day] += usage - account.usage;
        }
    }
}
