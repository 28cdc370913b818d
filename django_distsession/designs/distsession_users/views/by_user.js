// Sessions in which somebody is logged in, by user and time of creation.
function (doc) {
  if (doc.type === "session" && !doc.ended && doc.user !== null) {
    emit([doc.user, doc.created_at], [doc.created_at, doc.updated_at, doc.expires_at]);
  }
}
