// Sessions by the second from which on no copy of them lives anywhere, with all their leaves: what
// garbage collection reads. Those with branches that have to be merged first are in "conflicted".
function (doc) {
  if (doc.type === "session" && (doc.ended || !doc._conflicts)) {
    var until = doc.expires_at;
    var retained = doc.retain_until;
    if (typeof until === "number" && retained !== undefined) {
      until = typeof retained === "number" ? Math.max(until, retained) : retained;
    }
    emit(until, [[doc._rev].concat(doc._conflicts || []), doc._deleted_conflicts || []]);
  }
}
