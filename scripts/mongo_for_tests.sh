#!/usr/bin/env bash
# A MongoDB-compatible server for tests, on a free loopback port, with its data in a temporary folder.
#
#   scripts/mongo_for_tests.sh start    prints TEST_MONGO_URI=...; prints it again if one runs already
#   scripts/mongo_for_tests.sh stop     ends it and removes its data; does nothing if none runs
#
# It is `mongod` where there is one, else mongo-java-server where there are Java 17+ and Maven.
# Exit status 3: there is neither.
set -euo pipefail

readonly JAVA_SERVER="de.bwaldvogel:mongo-java-server-h2-backend:1.47.0"
readonly START_SECONDS=120
scripts="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
state="${TMPDIR:-/tmp}/agent-orchestrator-mongo-$(id -u)"
readonly scripts state

fail() {
    echo "mongo_for_tests: $1" >&2
    exit "${2:-1}"
}

is_running() {
    # Not by the number alone: after a crash it may have become another program's.
    [[ -s "$state/pid" && "$(ps -o args= -p "$(cat "$state/pid")")" == *"$state/data"* ]]
}

has_java_17() {
    local major
    command -v java >/dev/null && command -v mvn >/dev/null || return 1
    major="$(java -version 2>&1 | sed -nE '1s/.*"([0-9]+).*/\1/p')"
    [[ "${major:-0}" -ge 17 ]]
}

start_mongod() {
    local port
    port="$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')"
    mkdir "$state/data"
    nohup mongod --dbpath "$state/data" --bind_ip 127.0.0.1 --port "$port" \
        >"$state/log" 2>&1 </dev/null &
    echo $! >"$state/pid"
    wait_until answers "$port"
    echo "mongodb://127.0.0.1:$port" >"$state/uri"
}

start_java_server() {
    local group artifact version
    IFS=: read -r group artifact version <<<"$JAVA_SERVER"
    cat >"$state/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>mongo-for-tests</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version>
    </dependency>
  </dependencies>
</project>
POM
    mvn --quiet --batch-mode --file "$state/pom.xml" dependency:build-classpath \
        -Dmdep.outputFile="$state/classpath" >"$state/log" 2>&1 ||
        fail "Maven could not get $JAVA_SERVER; see $state/log"
    nohup java -cp "$(cat "$state/classpath")" "$scripts/MongoForTests.java" \
        "$state/data" "$state/uri" >>"$state/log" 2>&1 </dev/null &
    echo $! >"$state/pid"
    wait_until test -s "$state/uri"
}

answers() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

wait_until() {
    local deadline=$((SECONDS + START_SECONDS))
    until "$@"; do
        is_running || fail "the server ended at once; see $state/log"
        ((SECONDS < deadline)) || fail "the server did not start in $START_SECONDS s; see $state/log"
        sleep 0.1
    done
}

start() {
    if ! is_running; then
        command -v mongod >/dev/null || has_java_17 ||
            fail "no MongoDB-compatible server here: install mongod, or Java 17+ with Maven" 3
        rm -rf "$state"
        (umask 077 && mkdir -p "$state")
        if command -v mongod >/dev/null; then start_mongod; else start_java_server; fi
    fi
    echo "TEST_MONGO_URI=$(cat "$state/uri")"
}

stop() {
    if is_running; then
        local pid
        pid="$(cat "$state/pid")"
        kill "$pid"
        for _ in {1..100}; do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        if kill -0 "$pid" 2>/dev/null; then kill -KILL "$pid"; fi
    fi
    rm -rf "$state"
}

case "${1:-}" in
    start | stop) "$1" ;;
    *) fail "usage: $0 start|stop" 2 ;;
esac
