// Sessions by the day, in UTC, on which they were created: for people, not for the site.
function (doc) {
  if (doc.type === "session") {
    emit(new Date(doc.created_at * 1000).toISOString().slice(0, 10), null);
  }
}
