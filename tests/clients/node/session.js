'use strict';

// The life of a server as a program that uses node-vault sees it. Argument: the address of a server that
// nobody has initialised. Ends with status 0, or with the first answer that is not as it should be.

const assert = require('node:assert/strict');
const nodeVault = require('node-vault');

const endpoint = process.argv[2];
const connect = (token) => nodeVault({ endpoint, token });
const status = (code) => (error) => error.response.statusCode === code;
// node-vault goes on with the token that it is given: let another client take it.
const elsewhere = (vault, how, args) => connect(vault.token)[how](args);
const refused = (promise, code) => assert.rejects(promise, status(code));

async function initialise() {
    const vault = connect();
    assert.equal((await vault.initialized()).initialized, false);
    assert.equal((await vault.health()).initialized, false);
    const { keys, root_token: token } = await vault.init({ secret_shares: 3, secret_threshold: 2 });
    assert.equal(keys.length, 3);
    await refused(vault.init({ secret_shares: 1, secret_threshold: 1 }), 400);

    assert.deepEqual([(await vault.status()).sealed, (await vault.health()).sealed], [true, true]);
    await refused(connect(token).read('cubbyhole/a'), 503);
    const half = await vault.unseal({ key: keys[0] });
    assert.deepEqual([half.sealed, half.progress, half.t, half.n], [true, 1, 2, 3]);
    assert.equal((await vault.unseal({ reset: true })).progress, 0);
    await unseal(vault, keys);
    assert.equal((await vault.health()).sealed, false);
    return { keys, token };
}

async function unseal(vault, keys) {
    await vault.unseal({ key: keys[1] });
    assert.equal((await vault.unseal({ key: keys[2] })).sealed, false);
}

async function mounts(vault) {
    await vault.mount({ mount_point: 'plain', type: 'kv', description: 'from node' });
    await vault.mount({ mount_point: 'secret', type: 'kv', options: { version: '2' } });
    const listed = await vault.mounts();
    assert.equal(listed.data['plain/'].description, 'from node');
    assert.equal(listed['secret/'].options.version, '2');
    await refused(vault.mount({ mount_point: 'plain', type: 'kv' }), 400);
    await refused(vault.mount({ mount_point: 'none', type: 'no-such-engine' }), 400);
    assert.ok((await vault.auths()).data['token/']);
}

async function plain(vault) {
    await vault.write('plain/a/b', { text: 'grüße', number: 7, deep: { list: [1, null, true] } });
    const answer = await vault.read('plain/a/b');
    assert.deepEqual(answer.data, { text: 'grüße', number: 7, deep: { list: [1, null, true] } });
    assert.deepEqual((await vault.list('plain/a')).data.keys, ['b']);
    vault.noCustomHTTPVerbs = true;
    assert.deepEqual((await vault.list('plain')).data.keys, ['a/']);
    vault.noCustomHTTPVerbs = false;
    await vault.delete('plain/a/b');
    await refused(vault.read('plain/a/b'), 404);
    await refused(vault.list('plain'), 404);
}

async function versioned(vault) {
    const first = await vault.write('secret/data/a', { data: { one: '1' } });
    assert.equal(first.data.version, 1);
    const second = await vault.update('secret/data/a', { data: { two: '2' } });
    assert.equal(second.data.version, 2);
    assert.deepEqual((await vault.read('secret/data/a')).data.data, { one: '1', two: '2' });
    assert.deepEqual((await vault.read('secret/data/a?version=1')).data.data, { one: '1' });
    await refused(vault.write('secret/data/a', { data: {}, options: { cas: 1 } }), 400);
    await vault.destroySecretVersions({ mount_point: 'secret', path: 'a', versions: [1] });
    assert.equal((await vault.read('secret/metadata/a')).data.versions['1'].destroyed, true);
    await vault.delete('secret/data/a');
    await refused(vault.read('secret/data/a'), 404);
    assert.match((await vault.help('secret/data/a')).help, /data/);
}

async function policies(vault) {
    await vault.addPolicy({ name: 'node', rules: 'path "plain/own/*" { capabilities = ["create", "read"] }' });
    assert.ok((await vault.policies()).policies.includes('node'));
    assert.match((await vault.getPolicy({ name: 'node' })).rules, /plain\/own/);
    await refused(vault.addPolicy({ name: 'bad', rules: 'path "x" {' }), 400);

    const { auth } = await elsewhere(vault, 'tokenCreate', { policies: ['node'], ttl: '1h', meta: { made: 'by node' } });
    const limited = connect(auth.client_token);
    await limited.write('plain/own/x', { a: '1' });
    assert.deepEqual((await limited.read('plain/own/x')).data, { a: '1' });
    await refused(limited.write('plain/own/x', { a: '2' }), 403);
    await refused(limited.read('plain/other'), 403);
    await refused(limited.mounts(), 403);
    await vault.removePolicy({ name: 'node' });
    await refused(limited.read('plain/own/x'), 403);
}

async function tokens(vault) {
    const { auth } = await elsewhere(vault, 'tokenCreate', { policies: ['default'], ttl: '1h', display_name: 'node' });
    const own = connect(auth.client_token);
    const self = (await own.tokenLookupSelf()).data;
    assert.deepEqual([self.display_name, self.creation_ttl, self.policies], ['token-node', 3600, ['default']]);
    assert.equal((await own.tokenRenewSelf({ increment: 1800 })).auth.lease_duration, 1800);
    const renewed = await elsewhere(vault, 'tokenRenew', { token: auth.client_token, increment: '40m' });
    assert.equal(renewed.auth.lease_duration, 2400);
    assert.equal((await vault.tokenLookup({ token: auth.client_token })).data.accessor, auth.accessor);
    assert.equal((await vault.tokenLookupAccessor({ accessor: auth.accessor })).data.path, 'auth/token/create');
    assert.ok((await vault.tokenAccessors()).data.keys.includes(auth.accessor));
    await vault.tokenRevokeAccessor({ accessor: auth.accessor });
    await refused(own.tokenLookupSelf(), 403);

    await vault.addTokenRole({ role_name: 'batch', orphan: true, renewable: false });
    assert.deepEqual((await vault.tokenRoles()).data.keys, ['batch']);
    const made = (await elsewhere(vault, 'tokenCreateRole', { role_name: 'batch' })).auth;
    assert.deepEqual([made.orphan, made.renewable], [true, false]);
    await vault.removeTokenRole({ role_name: 'batch' });
    await vault.tokenRevoke({ token: made.client_token });
    await refused(connect(made.client_token).tokenLookupSelf(), 403);
    await refused(connect('hvs.nonsense').tokenLookupSelf(), 403);
}

async function wrapping(vault) {
    await vault.write('plain/wrapped', { a: '1' });
    const { wrap_info: wrap } = await vault.read('plain/wrapped', { headers: { 'X-Vault-Wrap-TTL': '60s' } });
    assert.deepEqual([wrap.ttl, wrap.creation_path], [60, 'plain/wrapped']);
    const carrier = connect(wrap.token);
    assert.deepEqual((await carrier.unwrap()).data, { a: '1' });
    await refused(carrier.unwrap(), 400);
}

async function seal(vault, keys) {
    await vault.write('plain/kept', { a: '1' });
    await vault.rotate();
    await vault.remount({ from: 'plain', to: 'moved' });
    await until(async () => (await vault.read('moved/kept')).data.a === '1');
    await vault.seal();
    await refused(vault.read('moved/kept'), 503);
    await unseal(connect(), keys);
    assert.deepEqual((await vault.read('moved/kept')).data, { a: '1' });
    await vault.unmount({ mount_point: 'moved' });
    await refused(vault.read('moved/kept'), 404);
}

async function until(holds) {
    for (let tries = 0; tries < 200; tries += 1) {
        if (await holds().catch(() => false)) return;
    }
    assert.fail('it never came true');
}

async function main() {
    const { keys, token } = await initialise();
    const vault = connect(token);
    for (const part of [mounts, plain, versioned, policies, tokens, wrapping, seal]) await part(vault, keys);
}

main().catch((error) => {
    console.error(error, error.response);
    process.exitCode = 1;
});
