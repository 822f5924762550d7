'use strict';
(() => {
  const model = JSON.parse(document.getElementById('model').textContent);
  const now = Date.parse(model.now), day = 86400e3, soonDays = 30, rowsOfAPage = 50;
  const $ = id => document.getElementById(id);

  // All text goes into the page as text. What is not to be seen, or would turn a line around, is replaced.
  const plain = text => String(text).replace(/[\p{Cc}\p{Cf}]/gu, '\uFFFD');
  const el = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === 'onclick') node.addEventListener('click', value);
      else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? '' : plain(value));
    }
    for (const child of children.flat(Infinity)) {
      if (child !== undefined && child !== '') node.append(child instanceof Node ? child : plain(child));
    }
    return node;
  };
  const of = (number, word) => `${number.toLocaleString('en')} ${word}${number === 1 ? '' : 's'}`;
  const at = time => Date.parse(time);
  const date = time => new Date(time).toISOString().slice(0, 10);
  const moment = time => el('time', { datetime: time }, new Date(time).toISOString().slice(0, 16).replace('T', ' ') + ' UTC');
  const relative = time => {
    const away = at(time) - now, size = Math.abs(away);
    const text = size < 2 * 3600e3 ? of(Math.round(size / 60e3), 'minute') : size < 2 * day ? of(Math.round(size / 3600e3), 'hour') : of(Math.round(size / day), 'day');
    return away < 0 ? text + ' ago' : 'in ' + text;
  };
  const ahead = time => Boolean(time) && at(time) > now;
  // natural order has client-2 before client-10.
  const natural = new Intl.Collator('en', { numeric: true }).compare;
  const by = key => (a, b) => natural(key(a), key(b));
  const soon = time => Boolean(time) && at(time) > now && at(time) <= now + soonDays * day;

  // What the lists refer to, by places.
  const apiKey = api => `${api.namespace}/${api.name}`;
  const apiAt = new Map(model.apis.map((api, i) => [apiKey(api), i]));
  const clientAt = new Map(model.clients.map((client, i) => [`${client.namespace}/${client.name}`, i]));
  const grantAt = new Map(model.grants.map((grant, i) => [`${grant.namespace}/${grant.name}`, i]));
  const problemsOf = new Map();
  for (const problem of model.problems) {
    const ref = `${problem.kind} ${problem.namespace || ''}/${problem.name}`;
    problemsOf.set(ref, [...(problemsOf.get(ref) || []), problem]);
    problem.key = problem.namespace ? `${problem.namespace}/${problem.name}` : problem.name;
    problem.text = [problem.reason, problem.severity, problem.kind, problem.key, problem.message].join('\n').toLowerCase();
  }
  const problemsWith = (kind, object) => problemsOf.get(`${kind} ${object.namespace}/${object.name}`) || [];
  const holders = model.grants.map(() => new Set());
  model.clients.forEach((client, i) => {
    const problems = problemsWith('M2MClient', client);
    const words = [client.id, client.displayName, client.description, client.issuer, ...client.methods, client.suspended && 'Suspended', ...problems.flatMap(p => [p.reason, p.message])];
    for (const wish of client.wishes || []) words.push(wish.api, ...(wish.missing || []).flatMap(lack => [lack.scope, lack.reason]));
    client.ends = false;
    client.end = Infinity; // when the first of what it has ends
    client.severity = problems.some(p => p.severity === 'error') ? 0 : problems.length ? 1 : 2;
    for (const holding of client.access || []) {
      const api = model.apis[holding.api];
      words.push(apiKey(api), api.displayName, api.identifier, ...(api.rules || []));
      for (const set of holding.sets) {
        words.push(...set.scopes);
        Object.assign(set, span(set));
        client.ends ||= set.soon;
        if (ahead(set.until)) client.end = Math.min(client.end, at(set.until));
        for (const way of set.ways || []) {
          const grant = model.grants[way.grant];
          if (!grant) continue;
          holders[way.grant].add(i);
          words.push(`${grant.namespace}/${grant.name}`, way.role, ...(grant.conditions || []));
        }
      }
    }
    client.text = words.filter(Boolean).join('\n').toLowerCase();
  });
  for (const grant of model.grants) {
    grant.key = `${grant.namespace}/${grant.name}`;
    grant.text = [grant.key, grant.api, grant.state, ...grant.subjects, ...(grant.scopes || []), ...(grant.roles || []), ...(grant.conditions || []),
      ...problemsWith('ScopeGrant', grant).flatMap(p => [p.reason, p.message])].join('\n').toLowerCase();
  }

  // span says how long, and on what, scopes are had: the longest and freest way counts.
  function span(set) {
    const ways = set.ways || [];
    const until = ways.length && ways.every(way => way.until) ? ways.map(way => way.until).sort().pop() : undefined;
    const from = ways.length && ways.every(way => way.from) ? ways.map(way => way.from).sort()[0] : undefined;
    return { until, from, soon: soon(until), limited: ways.length > 0 && ways.every(way => way.grant >= 0 && model.grants[way.grant].conditions) };
  }

  // Filters.
  const read = () => ({
    text: $('search').value.trim().toLowerCase(), namespace: $('namespace').value, client: $('client').value.trim().toLowerCase(),
    api: apiAt.get($('api').value) ?? -1, expiring: $('expiring').checked, problematic: $('problematic').checked,
  });
  const wishesFor = (client, api) => (client.wishes || []).some(wish => wish.api === apiKey(model.apis[api]));
  const clientFits = (client, f) => (!f.text || client.text.includes(f.text)) && (!f.client || client.id.toLowerCase().includes(f.client)) &&
    (!f.namespace || client.namespace === f.namespace || (client.access || []).some(h => model.apis[h.api].namespace === f.namespace)) &&
    (f.api < 0 || (client.access || []).some(h => h.api === f.api) || wishesFor(client, f.api)) &&
    (!f.problematic || problemsWith('M2MClient', client).length > 0);
  const grantFits = (grant, i, f) => (!f.text || grant.text.includes(f.text)) &&
    (!f.namespace || grant.namespace === f.namespace || grant.subjects.some(s => s.split(/[/,]/)[0] === f.namespace)) &&
    (f.api < 0 || apiAt.get(`${grant.namespace}/${grant.api}`) === f.api) && (!f.expiring || soon(grant.until)) &&
    (!f.client || [...holders[i]].some(c => model.clients[c].id.toLowerCase().includes(f.client)) || grant.subjects.some(s => s.toLowerCase().replace('/', '.').includes(f.client))) &&
    (!f.problematic || problemsWith('ScopeGrant', grant).length > 0);
  // A problem fits if what it is of does. All of them are of something with problems.
  const problemFits = (problem, f) => {
    const key = problem.key, grant = problem.kind === 'ScopeGrant' ? model.grants[grantAt.get(key)] : undefined;
    const client = problem.kind === 'M2MClient' ? model.clients[clientAt.get(key)] : undefined, issuer = problem.kind === 'TokenIssuer' && model.issuers.find(i => i.name === key);
    const api = problem.kind === 'ApiResource' ? apiAt.get(key) : grant && apiAt.get(`${grant.namespace}/${grant.api}`);
    const ending = client ? client.ends : soon(grant ? grant.until : issuer && issuer.certificateUntil);
    return (!f.expiring || ending) && (!f.text || problem.text.includes(f.text)) && (!f.namespace || problem.namespace === f.namespace) &&
      (f.api < 0 || api === f.api || Boolean(client && ((client.access || []).some(h => h.api === f.api) || wishesFor(client, f.api)))) &&
      (!f.client || (problem.kind === 'M2MClient' && `${problem.namespace}.${problem.name}`.toLowerCase().includes(f.client)));
  };

  // paged shows a list, some rows at a time; all of them on paper, after which it is where it was.
  const pageOf = new Map();
  let printing = false, printed = false;
  const paged = (box, items, what, draw) => {
    if (printing) { box.replaceChildren(draw(items)); return; }
    const pages = Math.max(1, Math.ceil(items.length / rowsOfAPage));
    let page = printed ? Math.min(pageOf.get(box) || 0, pages - 1) : 0;
    const show = moved => {
      pageOf.set(box, page);
      const list = draw(items.slice(page * rowsOfAPage, (page + 1) * rowsOfAPage));
      const step = (text, by) => el('button', { type: 'button', disabled: page + by < 0 || page + by >= pages, onclick: () => { page += by; show(by); } }, text);
      const back = step('Previous', -1), on = step('Next', 1);
      box.replaceChildren(list, pages > 1 ? el('div', { class: 'pager', role: 'group', 'aria-label': `Pages of ${what}` }, back, el('span', { role: 'status' }, `Page ${page + 1} of ${pages}`), on) : '');
      if (moved) { const pressed = moved < 0 ? back : on; (pressed.disabled ? (moved < 0 ? on : back) : pressed).focus(); }
    };
    show(0);
  };
  // On a narrow screen rows are cards, and a table to the eye no more: the roles say that it still is one.
  const table = (label, name, headings, rows) => el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': label },
    el('table', { class: name, role: 'table', 'aria-label': label }, el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, headings.map(h => el('th', { scope: 'col', role: 'columnheader' }, h)))), el('tbody', { role: 'rowgroup' }, rows)));
  const row = (...cells) => el('tr', { role: 'row' }, cells);
  const head = (...children) => el('th', { scope: 'row', role: 'rowheader' }, children);
  const cell = (label, ...children) => { const filled = children.flat(Infinity).filter(c => c !== undefined && c !== ''); return el('td', { role: 'cell', 'data-label': label, class: filled.length ? undefined : 'none' }, filled); };
  const badge = (text, kind) => el('span', { class: `badge ${kind || ''}` }, text);
  const nothing = (text, kind) => el('p', { class: `well ${kind || ''}` }, text);

  const scope = (name, set) => {
    const said = [set.until && `until ${set.until} (${relative(set.until)})`, set.from && `from ${set.from}`, set.limited && 'on conditions'].filter(Boolean).join(', ');
    return el('span', { class: ['scope', set.soon && 'soon', set.from && 'later', set.limited && 'limited'].filter(Boolean).join(' '), title: said || undefined, 'data-until': set.soon && date(set.until) }, name);
  };
  const scopes = sets => {
    const all = sets.flatMap(set => set.scopes.map(name => scope(name, set))), most = 6;
    return el('div', { class: 'scopes' }, all.slice(0, most), all.length > most ? el('span', { class: 'quiet' }, `and ${all.length - most} more`) : '');
  };
  const goTo = section => { $(section).scrollIntoView(); $(section).focus({ preventScroll: true }); };
  const focusOn = (field, value, section) => { $('filters').reset(); if (field) $(field).value = value; draw(); goTo(section); };
  const leadsTo = {
    M2MClient: problem => focusOn('client', `${problem.namespace}.${problem.name}`, 'access'), ApiResource: problem => focusOn('api', problem.key, 'access'),
    ScopeGrant: problem => focusOn('search', problem.key, 'grants'), TokenIssuer: () => focusOn('', '', 'keys'),
  };

  function drawProblems(f) {
    const groups = new Map();
    for (const problem of model.problems.filter(p => problemFits(p, f))) {
      const name = `${problem.severity} ${problem.reason}`;
      groups.set(name, [...(groups.get(name) || []), problem]);
    }
    const first = printing ? Infinity : 10;
    const item = problem => el('li', {}, el('button', { type: 'button', class: 'plain', onclick: () => leadsTo[problem.kind](problem) }, `${problem.kind} ${problem.key}`), `: ${problem.message}`);
    $('problem-list').replaceChildren(...[...groups.values()].map(group => group.sort(by(p => p.key))).map((problems, i) => {
      const list = el('ul', {}, problems.slice(0, first).map(item));
      const rest = problems.length > first ? el('button', { type: 'button', onclick: e => {
        const after = list.children.length; list.append(...problems.slice(after, after + 100).map(item));
        if (list.children.length >= problems.length) e.target.remove();
        (list.children[after].querySelector('button') || e.target).focus();
      } }, 'Show more') : '';
      return el('details', { class: problems[0].severity, open: printing || i < 3 }, el('summary', {}, badge(problems[0].severity, problems[0].severity === 'error' ? 'bad' : 'soon'), `${problems[0].reason} (${problems.length.toLocaleString('en')})`), list, rest);
    }), groups.size ? '' : model.problems.length ? nothing('None of the problems fits the filters.') : nothing('No problems were found.', 'good'));
  }

  function details(client) {
    const out = el('div', { class: 'within' });
    if (client.description) out.append(el('p', {}, client.description));
    out.append(el('p', { class: 'quiet' }, `TokenIssuer ${client.issuer}; authenticates by ${client.methods.join(', ')}`));
    for (const problem of problemsWith('M2MClient', client)) out.append(el('p', {}, badge(problem.reason, problem.severity === 'error' ? 'bad' : 'soon'), problem.message));
    for (const holding of client.access || []) {
      const api = model.apis[holding.api];
      out.append(el('h3', {}, apiKey(api)), el('p', { class: 'quiet' }, api.identifier, holding.tokenLifetime ? `; tokens live ${holding.tokenLifetime}` : ''));
      if (api.rules) out.append(el('p', {}, 'Tokens only if ', api.rules.map((rule, i) => [i ? ' and ' : '', el('code', {}, rule)])));
      out.append(el('ul', { class: 'ways' }, holding.sets.map(set => el('li', {}, el('span', { class: 'scopes' }, set.scopes.map(name => scope(name, set))), (set.ways || []).map(way)))));
    }
    for (const wish of client.wishes || []) {
      out.append(el('h3', {}, `Asked for at ${wish.api}, and not given`), el('ul', { class: 'ways' }, (wish.missing || []).map(lack => el('li', {}, `${lack.scope}: ${lack.message}`))));
    }
    if (!(client.access || []).length) out.append(el('p', {}, client.suspended ? 'It is suspended, and gets no token.' : 'It has no scope of any API.'));
    return out;
  }
  const way = w => {
    const grant = model.grants[w.grant];
    return el('div', {}, grant ? `by ScopeGrant ${grant.key}` : w.grant === -1 ? 'as any client of its TokenIssuer' : 'by a ScopeGrant that was not seen',
      w.role ? `, role ${w.role}` : '', w.from ? [', from ', moment(w.from)] : [], w.until ? [', until ', moment(w.until), ` (${relative(w.until)})`] : [],
      grant && grant.conditions ? [', if ', el('code', {}, grant.conditions.join(' && '))] : []);
  };

  const opened = new Set(); // clients whose details are shown
  function drawMatrix(f, clients) {
    const had = list => new Set(list.flatMap(client => (client.access || []).map(h => h.api)));
    const used = had(clients);
    const unused = f.api >= 0 ? [] : model.apis.filter((api, i) => !used.has(i) && (!f.namespace || api.namespace === f.namespace)).map(apiKey).sort(natural);
    const heading = i => [apiKey(model.apis[i]), el('span', { class: 'quiet' }, model.apis[i].displayName || model.apis[i].identifier)];
    const line = columns => (client, i) => {
      const id = `client-${i}`, more = el('tr', { class: 'more', role: 'row', id }, el('td', { colspan: columns.length + 1, role: 'cell' }));
      const button = el('button', { type: 'button', class: 'plain', 'aria-controls': id, onclick: () => { opened[opened.has(client) ? 'delete' : 'add'](client); unfold(); } }, client.id);
      const unfold = () => {
        more.hidden = !opened.has(client);
        button.setAttribute('aria-expanded', String(!more.hidden));
        if (!more.hidden && !more.firstChild.firstChild) more.firstChild.append(details(client));
      };
      unfold();
      const badges = [...problemsWith('M2MClient', client).map(p => badge(p.reason, p.severity === 'error' ? 'bad' : 'soon')), client.suspended ? badge('Suspended') : '', (client.wishes || []).length ? badge('asks for more') : ''].filter(Boolean);
      const cells = columns.map(i => { const h = (client.access || []).find(h => h.api === i); return cell(apiKey(model.apis[i]), h ? scopes(h.sets) : ''); });
      return [row(head(button, client.displayName ? el('span', { class: 'quiet' }, client.displayName) : '', badges.length ? el('div', { class: 'badges' }, badges) : ''), cells), more];
    };
    paged($('matrix'), clients, 'clients', shown => { // with the APIs that those who are shown have something of
      const columns = f.api >= 0 ? [f.api] : [...had(shown)].sort(by(i => apiKey(model.apis[i])));
      return shown.length ? table('Clients and what they have of each API', 'matrix', ['Client', ...columns.map(heading)], shown.flatMap(line(columns))) : nothing('No client fits the filters.');
    });
    $('unused').replaceChildren(clients.length && unused.length ? el('p', { class: 'quiet' }, `None of these clients has anything of ${unused.slice(0, 10).join(', ')}${unused.length > 10 ? ` and ${unused.length - 10} more` : ''}.`) : '');
  }

  // A timeline has bars on a track; all of a list have the same scale.
  const scale = times => {
    const known = times.filter(Boolean).map(at).concat(now), low = Math.min(...known), high = Math.max(...known), margin = Math.max((high - low) * .03, 3600e3);
    return { low: low - margin, high: high + margin };
  };
  const share = (time, s) => `${100 * (Math.min(Math.max(time, s.low), s.high) - s.low) / (s.high - s.low)}%`;
  const track = (bars, s, label) => {
    const out = el('div', { class: 'track', role: 'img', 'aria-label': label });
    for (const bar of bars) {
      const node = el('span', { class: `bar ${bar.kind || ''} ${bar.to ? '' : 'open'}`, title: bar.title });
      node.style.left = share(bar.from ? at(bar.from) : s.low, s);
      node.style.right = `calc(100% - ${share(bar.to ? at(bar.to) : s.high, s)})`;
      out.append(node);
    }
    const line = el('span', { class: 'now' });
    line.style.left = share(now, s);
    out.append(line);
    return out;
  };
  // due is a bar until something should have happened, and another one since then if it has not.
  const due = (bar, until) => at(until) < now ? [{ ...bar, to: until }, { from: until, to: model.now, kind: 'bad', title: 'overdue' }] : [{ ...bar, to: until }];
  const timed = (bars, s, label) => { const c = cell('Time', track(bars, s, label)); c.classList.add('time'); return c; };
  const axis = s => ['Time (the line is now)', el('span', { class: 'axis' }, el('span', {}, date(s.low)), el('span', {}, date(s.high)))];
  const stretch = (from, to) => `${from ? `from ${from} ` : ''}${to ? `until ${to}` : 'without end'}`;
  const ends = time => time ? [moment(time), el('span', { class: 'quiet' }, relative(time))] : ['never'];

  function drawGrants(f) {
    // What ends next, then what never ends, then what has ended, the latest first.
    const order = grant => !grant.until ? Number.MAX_SAFE_INTEGER : ahead(grant.until) ? at(grant.until) : 2 * Number.MAX_SAFE_INTEGER - at(grant.until);
    const list = model.grants.filter((grant, i) => grantFits(grant, i, f)).sort((a, b) => order(a) - order(b) || natural(a.key, b.key));
    const s = scale(list.flatMap(grant => [grant.from, grant.until]));
    const line = grant => row(
      head(grant.key, el('span', { class: 'quiet' }, `of ApiResource ${grant.api}`)),
      cell('State', badge(grant.state, grant.state === 'Active' ? 'good' : grant.state === 'Suspended' || grant.state === 'NotYetActive' ? '' : 'bad'), soon(grant.until) ? badge('ends soon', 'soon') : '', grant.state === 'Active' ? '' : el('span', { class: 'quiet' }, grant.message)),
      cell('Gives', el('div', { class: 'scopes' }, (grant.scopes || []).map(name => el('span', { class: 'scope' }, name)), (grant.roles || []).map(name => el('span', { class: 'scope' }, `role ${name}`))), grant.conditions ? ['if ', el('code', {}, grant.conditions.join(' && '))] : []),
      cell('To', grant.subjects.map(subject => el('div', {}, subject)), el('span', { class: 'quiet' }, of(grant.clients, 'client'))),
      cell('Ends', ends(grant.until)),
      timed([{ from: grant.from, to: grant.until, kind: grant.state === 'Active' ? '' : grant.state === 'NotYetActive' ? 'ahead' : 'quietly' }], s, `${grant.state}, ${stretch(grant.from, grant.until)}`));
    paged($('grant-list'), list, 'grants', shown => shown.length ? table('Grants, those that end next first', '', ['Grant', 'State', 'Gives', 'To', 'Ends', axis(s)], shown.map(line)) : nothing(model.grants.length ? 'No grant fits the filters.' : 'There are no grants.'));
    return list.length;
  }

  const kinds = { Announced: 'ahead', Pending: 'ahead', Retired: 'quietly', Previous: 'quietly', Revoked: 'bad' };
  function drawKeys() {
    const keys = model.issuers.flatMap(issuer => (issuer.keys || []).map(key => ({ ...key, issuer })));
    const s = scale(keys.flatMap(key => [key.since, key.until]));
    const certificates = model.issuers.filter(issuer => issuer.certificateUntil).map(issuer => el('p', { class: 'quiet' }, `The serving certificate of ${issuer.name} ends at `, moment(issuer.certificateUntil), ` (${relative(issuer.certificateUntil)}).`));
    $('key-list').replaceChildren(keys.length ? table('Signing keys', '', ['Key', 'TokenIssuer', 'State', 'State ends', axis(s)], keys.map(key => row(
      head(el('code', {}, key.id), el('span', { class: 'quiet' }, key.algorithm)),
      cell('TokenIssuer', key.issuer.name, el('span', { class: 'quiet' }, key.issuer.url)),
      cell('State', badge(key.state, key.state === 'Active' ? 'good' : '')),
      cell('State ends', ends(key.until)),
      timed(due({ from: key.since, kind: kinds[key.state] }, key.until), s, `${key.state}, ${stretch(key.since, key.until)}`)))) : nothing('No status names signing keys.'), ...certificates);
  }

  function drawSecrets(f, clients) {
    const list = clients.filter(client => (client.secrets || []).length);
    const s = scale(list.flatMap(client => [client.nextRotation, ...client.secrets.flatMap(secret => [secret.created, secret.expires])]));
    paged($('secret-list'), list, 'secrets', shown => shown.length ? table('Client secrets', '', ['Client', 'Secrets', 'Next rotation', axis(s)], shown.map(client => row(
      head(client.id),
      cell('Secrets', client.secrets.map(secret => el('div', {}, badge(secret.state, secret.state === 'Current' ? 'good' : ''), el('code', {}, secret.id), el('span', { class: 'quiet' }, secret.created ? `since ${date(secret.created)}` : '', secret.expires ? `, refused from ${date(secret.expires)}` : '')))),
      cell('Next rotation', client.nextRotation ? ends(client.nextRotation) : 'when somebody asks for one'),
      timed(client.secrets.flatMap(secret => due({ from: secret.created, kind: kinds[secret.state], title: secret.state }, secret.expires || (secret.state === 'Current' ? client.nextRotation : undefined))), s, client.secrets.map(secret => `${secret.state}, ${stretch(secret.created, secret.expires)}`).join('; '))))) : nothing('No status of these clients names secrets.'));
  }

  const orders = {
    '': by(client => client.id), problems: (a, b) => a.severity - b.severity || orders[''](a, b),
    end: (a, b) => (a.end === b.end ? 0 : a.end - b.end) || orders[''](a, b),
  };
  function draw() {
    const f = read();
    const clients = model.clients.filter(client => clientFits(client, f) && (!f.expiring || client.ends)).sort(orders[$('sort').value]);
    drawProblems(f);
    drawMatrix(f, clients);
    const grants = drawGrants(f);
    drawSecrets(f, clients);
    if (!printing) remember();
    $('shown').value = `${clients.length.toLocaleString('en')} of ${of(model.clients.length, 'client')}, ${grants.toLocaleString('en')} of ${of(model.grants.length, 'grant')}`;
  }

  // What is looked for is in the address, so that it can be linked to.
  const fields = ['search', 'namespace', 'api', 'client', 'sort'], checks = ['expiring', 'problematic'];
  const remember = () => {
    const kept = new URLSearchParams([...fields.map(id => [id, $(id).value]), ...checks.map(id => [id, $(id).checked ? 'yes' : ''])].filter(([, value]) => value)).toString();
    if (kept === location.hash.slice(1)) return;
    try { history.replaceState(null, '', kept ? `#${kept}` : location.href.split('#')[0]); } catch { /* Some browsers do not let a page do so often, or in a frame: then it is not in the address. */ }
  };
  const recall = () => {
    const kept = new URLSearchParams(location.hash.slice(1));
    $('filters').reset();
    for (const id of fields) { $(id).value = kept.get(id) || ''; if ($(id).selectedIndex === -1) $(id).value = ''; }
    for (const id of checks) $(id).checked = kept.has(id);
    const section = $(location.hash.slice(1));
    draw();
    if (section) goTo(section.id);
  };
  // Links within the page go there, and leave what is looked for as it is.
  for (const link of document.querySelectorAll('a[href^="#"]')) link.addEventListener('click', event => { event.preventDefault(); goTo(link.hash.slice(1)); });

  // The theme is the system's until somebody presses the button.
  const dark = matchMedia('(prefers-color-scheme: dark)'), root = document.documentElement;
  const isDark = () => root.dataset.theme ? root.dataset.theme === 'dark' : dark.matches;
  const label = () => { $('theme').textContent = isDark() ? 'Light theme' : 'Dark theme'; };
  $('theme').addEventListener('click', () => { root.dataset.theme = isDark() ? 'light' : 'dark'; label(); });
  dark.addEventListener('change', label);

  const namespaces = new Set([...model.clients, ...model.apis, ...model.grants].map(object => object.namespace));
  $('namespace').append(...[...namespaces].sort(natural).map(name => el('option', { value: name }, name)));
  $('api').append(...model.apis.map(apiKey).sort(natural).map(key => el('option', { value: key }, key)));
  $('clients').append(...model.clients.map(client => client.id).sort(natural).map(id => el('option', { value: id })));
  if (model.problems.length) document.querySelector('nav a').classList.add('bad');
  $('filters').addEventListener('input', draw);
  $('clear').addEventListener('click', () => { $('filters').reset(); draw(); });
  $('filters').addEventListener('submit', event => event.preventDefault());
  const onPaper = yes => { printing = yes; printed = !yes; draw(); printed = false; };
  addEventListener('beforeprint', () => onPaper(true));
  addEventListener('afterprint', () => onPaper(false));
  addEventListener('hashchange', recall);
  label();
  drawKeys();
  recall();
})();
