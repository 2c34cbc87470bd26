//! Real programs on the mount: git, tar, SQLite, PostgreSQL's habits.

use std::path::Path;

use super::support::{Mounted, shell};

fn has(program: &str) -> bool {
    let found =
        std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|p| p.join(program).exists()));
    if !found {
        eprintln!("{program} is not installed: this test shows nothing");
    }
    found
}

#[test]
fn git_works() {
    if !has("git") {
        return;
    }
    let m = Mounted::new();
    let script = "export HOME=$PWD GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        git init -q r; cd r; for i in $(seq 200); do echo $i > f$i; done; git add .; git commit -qm one
        git checkout -qb other; rm f1; echo x >> f2; git commit -qam two; git checkout -q -; test -e f1
        git merge -q other; git gc -q; git fsck --strict; test -z \"$(git status --porcelain)\"; cd ..; git clone -q r s";
    shell(&m.path(), script);
    m.assert_mirrored();
}

#[test]
fn tar_keeps_everything() {
    if !has("tar") {
        return;
    }
    let m = Mounted::new();
    let script = "mkdir -p src/d; echo a > src/a; ln src/a src/d/hard; ln -s ../a src/d/soft; mkfifo src/p; truncate -s 1M src/sparse
        chmod 4750 src/a; chown 12:34 src/d; touch -d 2010-01-01 src/a; tar cf a.tar --sparse src; mkdir out; tar xpf a.tar -C out
        tar cf - -C out src | tar tvf - | awk '{print $1, $2, $4, $6}' > listed; diff -r --no-dereference src/d out/src/d";
    shell(&m.path(), script);
    m.assert_mirrored();
}

#[test]
fn sqlite_in_wal_mode_keeps_every_row() {
    if !has("python3") {
        return;
    }
    let m = Mounted::new();
    let script = r#"
import sqlite3, multiprocessing
def work(n):
    db = sqlite3.connect("t.db", timeout=60, isolation_level=None)
    db.execute("pragma synchronous=full")
    for i in range(50):
        db.execute("insert into t values (?, ?)", (n, i))
db = sqlite3.connect("t.db"); assert db.execute("pragma journal_mode=wal").fetchone() == ("wal",)
db.execute("create table t (a, b)"); db.commit()
ps = [multiprocessing.Process(target=work, args=(n,)) for n in range(3)]
[p.start() for p in ps]; [p.join() for p in ps]
assert all(p.exitcode == 0 for p in ps)
assert db.execute("select count(*) from t").fetchone() == (150,)
assert db.execute("pragma integrity_check").fetchone() == ("ok",)
"#;
    std::fs::write(m.join("t.py"), script).unwrap();
    shell(&m.path(), "python3 t.py");
    m.assert_mirrored();
}

#[test]
fn programs_run_and_lock_on_the_mount() {
    let m = Mounted::new();
    shell(
        &m.path(),
        "cp /bin/true t; ./t; echo '#!/bin/sh\necho ok' > s; chmod +x s; test $(./s) = ok
         exec 8>lock; flock -n 8; ! flock -n lock true; cp -a s s2; cmp s s2; mv s2 s3; dd if=/dev/zero of=z bs=64k count=20 conv=fsync status=none
         cp --sparse=always z y; test $(stat -c %s y) = 1310720; sync; df . > /dev/null",
    );
    m.assert_mirrored();
}

#[test]
fn postgresql_runs_on_the_mount() {
    let bin = Path::new("/usr/lib/postgresql/15/bin");
    if !bin.join("initdb").exists() {
        eprintln!("PostgreSQL is not installed: this test shows nothing");
        return;
    }
    let m = Mounted::new();
    let script = format!(
        "export PATH={}:$PATH; mkdir pg sock; chown postgres pg sock; chmod 711 . ; run() {{ setpriv --reuid postgres --regid postgres --init-groups \"$@\"; }}
         run initdb -D pg >log; trap 'run pg_ctl -D pg -m immediate stop >>log' EXIT
         run pg_ctl -w -D pg -o \"-k $PWD/sock -h ''\" -l pg/out start >>log
         run psql -qh $PWD/sock postgres -c 'create table t as select g, md5(g::text) from generate_series(1,20000) g; create index on t(g); checkpoint'
         test $(run psql -Ath $PWD/sock postgres -c 'select count(*) from t') = 20000
         run pg_ctl -w -D pg stop -m fast >>log; trap - EXIT",
        bin.display()
    );
    std::fs::set_permissions(m.path().parent().unwrap(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    shell(&m.path(), &script);
    m.assert_mirrored();
}
