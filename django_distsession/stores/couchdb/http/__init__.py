"""
HTTP to the nodes of a cluster: connections, logins, and which node is asked. Knows neither sessions
nor what CouchDB answers.
"""
