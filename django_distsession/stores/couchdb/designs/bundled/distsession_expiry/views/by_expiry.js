// Sessions by the second in which they expire, with all their leaves: what garbage collection reads.
// Those with branches that have to be merged first are in "conflicted".
function (doc) {
  if (doc.type === "session" && (doc.ended || !doc._conflicts)) {
    emit(doc.expires_at, [[doc._rev].concat(doc._conflicts || []), doc._deleted_conflicts || []]);
  }
}
