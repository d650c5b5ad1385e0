# From an empty folder to a contract that is tested, deployed and upgraded.
# A devnet is running: wattledger devnet
OWNER=0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266   # the devnet's first account, unlocked

# 1. Write it, and test it without a node.
wattledger contract new jar
wattledger contract check jar.py
wattledger contract test
wattledger contract gas jar.py

# 2. Deploy it, and use it.
JAR=$(wattledger contract deploy jar.py --from $OWNER --json | grep -o '0x[0-9a-fA-F]*' | head -1)
wattledger contract send $JAR jar.py add 5 --from $OWNER
wattledger contract call $JAR jar.py total

# 3. Make it better: new storage goes behind the old; migrate() runs once, with the upgrade.
cp jar.py jar_2.py
cat >> jar_2.py <<'END'

    _largest: uint256

    def migrate(self) -> None:
        self._largest = self._total

    @view
    def largest(self) -> uint256:
        """The largest sum so far."""
        return self._largest
END
cat > test_jar_2.py <<'END'
from ledger.contract.testing import Chain


def test_the_sum_survives_the_upgrade():
    chain = Chain()
    jar = chain.deploy("jar.py")
    jar.add(5)
    jar = chain.upgrade(jar, "jar_2.py")
    assert (jar.total(), jar.largest()) == (5, 5)
END
wattledger contract test
wattledger contract diff $JAR jar_2.py

# 4. The network's administrator approves this very source; then anybody may send it.
wattledger network propose upgrade $JAR jar_2.py --from $OWNER
wattledger contract upgrade $JAR jar_2.py --from $OWNER
wattledger contract call $JAR jar_2.py largest
