// Sessions by the second in which they expire: what garbage collection reads.
function (doc) {
  if (doc.type === "session") {
    emit(doc.expires_at, doc._rev);
  }
}
